"""A comparison that goes on while runs do: --watch in the terminal, --serve on 127.0.0.1."""

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
from made import make_grid

from aejax.cli.compare import main
from aejax.runs.folder import Run

pytestmark = pytest.mark.slow


@pytest.fixture
def running(tmp_path):
    """A sweep of which the last run is not finished, and what finishes it."""
    sweep = make_grid(tmp_path / "sweep", noises=("none",), dims=(2,), seeds=3)
    run = Run.read(sweep / "5")
    run.note(status="running")
    return sweep, lambda: run.note(status="completed")


def test_watch_redraws_until_the_sweep_is_finished(running, capsys):
    sweep, finish = running
    timer = threading.Timer(1.0, finish)
    timer.start()
    began = time.monotonic()
    main([str(sweep), "--watch", "0.1"])
    assert time.monotonic() - began >= 0.9
    timer.join()
    out = capsys.readouterr().out
    assert out.endswith("better\n") or "6 runs: 6 completed" in out
    assert "6 runs: 6 completed" in out


@pytest.mark.parametrize("words", [("--watch", "0"), ("--watch", "nan"), ("--serve", "70000")])
def test_wrong_times_and_ports_are_told(running, capsys, words):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    with pytest.raises(SystemExit) as stop:
        main([str(running[0]), *words])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"aejax: {' '.join(words)}: ")


def test_serve_answers_this_machine_with_the_report_as_it_is_now(running):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    sweep, finish = running
    words = [sys.executable, "-m", "aejax.compare", str(sweep), "--serve", "0"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
    served = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        url = served.stdout.readline().split()[0]
        assert url.startswith("http://127.0.0.1:")

        def get(name, **headers):
            with urllib.request.urlopen(urllib.request.Request(url + name, headers=headers), timeout=60) as answer:
                return answer.read().decode()

        page, stamp = get(""), get("stamp")
        assert "6 runs: 5 completed, 1 running" in page
        content = page.partition('id="content">')[2].partition("</script>")[0]
        assert len(json.loads(content)["runs"]) == 6
        finish()
        deadline = time.monotonic() + 60
        while get("stamp") == stamp and time.monotonic() < deadline:
            time.sleep(0.2)
        assert "6 runs: 6 completed" in get("")
        for name, headers, status in (("", {"Host": "elsewhere.example"}, 403), ("../etc/passwd", {}, 404)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(name, **headers)
            assert refused.value.code == status
            refused.value.close()
    finally:
        served.send_signal(signal.SIGINT)
        try:
            err = served.communicate(timeout=60)[1]
        finally:
            served.kill()  # where it does not stop by itself, which fails the test
    assert (served.returncode, err) == (130, "")
