"""A Slurm of one node on the loopback interface, from Debian's packages, which are unpacked and not installed."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PACKAGES = ("slurmd", "slurmctld", "slurm-client", "munge")
LIBRARIES = "usr/lib/x86_64-linux-gnu"
# Neither accounts nor control groups, and a job that is taken back is queued again at once.
SETTINGS = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={lab}/run/munge.sock
CryptoType=crypto/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
PluginDir={lab}/unpacked/{libraries}/slurm-wlm
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
KillWait=5
SlurmctldPidFile={lab}/run/slurmctld.pid
SlurmdPidFile={lab}/run/slurmd.pid
SlurmctldPort={controller}
SlurmdPort={node}
SlurmdSpoolDir={lab}/spool
StateSaveLocation={lab}/state
SlurmctldLogFile={lab}/log/slurmctld.log
SlurmdLogFile={lab}/log/slurmd.log
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=requeue_delay=1,sched_interval=2,sched_min_interval=1
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# Without accounts there is no sacct, which submitit asks for the states of jobs.
SACCT = r"""#!/bin/sh
echo "JobID|State|NodeList"
number='s/^JobId=([0-9]+) ArrayJobId=([0-9]+) ArrayTaskId=([0-9]+) .*/\2_\3/; s/^JobId=([0-9]+) .*/\1/'
while [ $# -gt 0 ]; do
    if [ "$1" = -j ]; then
        scontrol show job -o "$2" 2>/dev/null | while read -r line; do
            state=$(echo "$line" | sed -E 's/.*JobState=([A-Z_]+).*/\1/')
            echo "$(echo "$line" | sed -E "$number")|$state|localhost"
        done
        shift
    fi
    shift
done
"""


@contextlib.contextmanager
def running():
    """The variables of a process that uses the Slurm, which runs in this context; skips where there can be none."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip("Slurm's packages are Debian's, and apt-get runs as root only")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, contextlib.ExitStack() as daemons:
        lab = Path(folder)
        for name in ("debs/partial", "unpacked", "run", "log", "spool", "state", "bin"):
            (lab / name).mkdir(parents=True)
        lab.chmod(0o755)  # munge asks for that
        options = ["--download-only", "-o", f"Dir::Cache::archives={lab}/debs"]
        got = subprocess.run(["apt-get", "install", "-y", *options, *PACKAGES], capture_output=True, text=True)
        if got.returncode:
            pytest.skip(f"Slurm's packages cannot be downloaded here: {got.stderr.strip().splitlines()[-1]}")
        for package in (lab / "debs").glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, lab / "unpacked"], check=True)
        variables = _variables(lab)
        (lab / "slurm.conf").write_text(
            SETTINGS.format(lab=lab, user="root", libraries=LIBRARIES, controller=_free_port(), node=_free_port())
        )
        (lab / "bin" / "sacct").write_text(SACCT)
        (lab / "bin" / "sacct").chmod(0o755)
        run = lab / "run"
        subprocess.run(["mungekey", "-c", "-k", run / "munge.key"], env=variables, check=True)
        munge = [f"--key-file={run}/munge.key", f"--socket={run}/munge.sock", f"--pid-file={run}/munged.pid"]
        munge += [f"--log-file={lab}/log/munged.log", f"--seed-file={run}/munge.seed", "--num-threads=1"]
        commands = (
            ["munged", "--foreground", *munge],
            ["slurmctld-wlm", "-D", "-f", lab / "slurm.conf"],
            ["slurmd-wlm", "-D", "-N", "localhost", "-f", lab / "slurm.conf",
             "-d", lab / "unpacked/usr/sbin/slurmstepd-wlm"],
        )  # fmt: skip
        for command in commands:
            daemons.enter_context(_daemon(command, variables))
            time.sleep(1)
        _wait_for_node(variables)
        yield variables


def _variables(lab):
    libraries = [lab / "unpacked" / LIBRARIES, lab / "unpacked" / LIBRARIES / "slurm-wlm"]
    programs = [lab / "bin", lab / "unpacked/usr/bin", lab / "unpacked/usr/sbin"]
    return os.environ | {
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "PATH": ":".join([*map(str, programs), os.environ["PATH"]]),
        "SLURM_CONF": str(lab / "slurm.conf"),
    }


@contextlib.contextmanager
def _daemon(command, variables):
    """A daemon that ends with this context."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=variables, start_new_session=True, **quiet)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_node(variables):
    for _ in range(60):
        told = subprocess.run(["sinfo", "-h", "-o", "%T"], env=variables, capture_output=True, text=True)
        if told.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    raise AssertionError(f"the node of Slurm does not come up: {told.stdout}{told.stderr}")


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
