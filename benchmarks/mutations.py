"""What is changed in the files of a run, or in the archive of them, so that they are damaged or hostile.

Each function takes (draw, files {name: bytes}), changes the files, and returns what it did, in a few words.
"""

import contextlib
import copy
import io
import json
import random
import re
import zipfile

import numpy as np
import yaml

from benchmarks.hostile_values import CLASSES, NAMES, VALUES

SETTINGS = (".hydra/config.yaml", ".hydra/hydra.yaml")


def some_bytes(draw, content):
    """Bytes changed, left out, put in or repeated at random."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 30])):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(5)
        if kind == 0:
            data[at : at + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            del data[at : at + draw.choice([1, 8, 1000])]
        elif kind == 2:
            data[at:at] = bytes(draw.choices(range(256), k=draw.choice([1, 4, 300])))
        elif kind == 3:
            data[at : at + 8] = draw.choice([b"\xff" * 8, b"\0" * 8, (2**31).to_bytes(8, "little"), b"\x7f" * 4])
        else:
            data[at:at] = data[max(0, at - draw.choice([4, 60, 900])) : at]
    return bytes(data)


def a_file(draw, files):
    name = draw.choice(sorted(files))
    files[name] = some_bytes(draw, files[name])
    return f"bytes of {name}"


def nodes(content):
    """(container, key) of every value of nested containers."""
    for key in list(content if isinstance(content, dict) else range(len(content))):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from nodes(content[key])


def changed(draw, content):
    """Nested containers with some values replaced, removed or moved; a line that says so."""
    words = []
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        known = list(nodes(content))
        if not known:
            break
        container, key = draw.choice(known)
        kind = draw.random()
        if key == "_target_" and kind < 0.7:
            value = draw.choice(CLASSES)
        elif kind < 0.1:
            del container[key]
            words.append(f"without {key}")
            continue
        elif kind < 0.25:  # another part of the same
            other, place = draw.choice(known)
            value = json.loads(json.dumps(other[place])) if not _is_above(other[place], container) else None
        elif kind < 0.35 and isinstance(container, dict):
            key, value = draw.choice(["x", "_target_", "${seed}", "", "a.b", 3, "_args_"]), value_of(draw)
        elif kind < 0.5 and isinstance(container[key], int | float) and abs(container[key]) < 1e300:
            value = container[key] * draw.choice([2, -1, 10, 0.5, 1e9]) + draw.choice([0, 1])
        else:
            value = value_of(draw)
        container[key] = value
        words.append(f"{key}={str(value)[:80] if len(str(value)) < 9000 else 'long'}")
    return "; ".join(words)


def value_of(draw):
    """One of VALUES, a copy: what is put into a list here must not be in it in the next case."""
    return copy.deepcopy(draw.choice(VALUES))


def _is_above(node, container):
    return node is container or any(child[key] is container for child, key in nodes(node)) if _is_nest(node) else False


def _is_nest(node):
    return isinstance(node, dict | list)


def a_record(draw, files):
    name = draw.choice(["run.json"] * 4 + ["metrics.json"])
    content = json.loads(files[name])
    words = changed(draw, content)
    files[name] = json.dumps(content).encode()
    return f"{name}: {words}"


def a_setting(draw, files):
    name = draw.choice([SETTINGS[0]] * 9 + [SETTINGS[1]])
    content = yaml.safe_load(files[name])
    words = changed(draw, content)
    with contextlib.suppress(RecursionError):
        files[name] = yaml.dump(content, Dumper=Plain, allow_unicode=True).encode("utf-8", "surrogatepass")
    return f"{name}: {words}"


class Plain(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def a_text(draw, files):
    """YAML and JSON that nobody writes."""
    name = draw.choice(["run.json", "metrics.json", *SETTINGS, "history.csv"])
    bombs = [
        "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(9)),
        "".join(f"b{n}: {{x: '${{b{n + 1}}}', y: '${{b{n + 1}}}'}}\n" for n in range(40)) + "b40: 1\nseed: ${b0}\n",
        "".join(f"b{n}: ${{b{n + 1}}}${{b{n + 1}}}\n" for n in range(40)) + "b40: xxxx\nseed: ${b0}\n",
        "net: " + "[" * 50_000, "[" * 200_000, '{"a":' * 50_000, "seed: " + "1:" * 500_000 + "1",
        "seed: 0x" + "f" * 900_000,
        "seed: " + "9" * 900_000, "a: 1\na: 2\n", "seed: !!python/object/apply:os.system [touch evil]",
        "? [1, 2]\n: 3\n", "- 1\n" * 200_000, "{}", "[]", "", "null", "\ufeff{}", "a: {" + "b: {}, " * 100_000 + "}",
        '{"status": "completed", "x": [' + "[]," * 1_300_000 + "0]}", '{"status": ' + "1" * 5000 + "}", "seed: ${seed}",
        "seed: 2001-01-01 00:00:00", "1: 2", '"' + "\\ud800" * 1000, "x" * 2**21, "step\n" + "1\n" * 300_000,
        "net: {_target_: aejax.models.nets.dense.Mlp, widths: [" + "1," * 100_000 + "1]}",
    ]  # fmt: skip
    place = draw.randrange(len(bombs))
    text = bombs[place].encode("utf-8", "surrogatepass")
    files[name] = (files[name] if draw.random() < 0.5 else b"") + text
    return f"{name}: text {place}"


def tensors(draw, files):
    """The header of the parameters' file, or what it says of them."""
    data = files["params.safetensors"]
    size = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    kind = draw.randrange(6)
    name = draw.choice(sorted(header))
    if kind == 0:
        words = changed(draw, header)
    elif kind == 1:
        header[name]["dtype"] = words = draw.choice(["F64", "F16", "BF16", "I32", "U8", "BOOL", "C64", "F8_E4M3", "x"])
    elif kind == 2:
        header[name]["shape"] = words = draw.choice(
            [[2**40], [2**32, 2**32], [-1], [0, 2**62], [1] * 40, [2**64], [], [10**30]]
        )
    elif kind == 3:
        header[draw.choice(["encoder", "x.y", "encoder..", "a" * 1000, "\0", "running.x", ""])] = header.pop(name)
        words = "renamed"
    elif kind == 4:
        header |= {
            f"encoder.t{place}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for place in range(20_000)
        }
        words = "many"
    else:
        header[name]["shape"], words = [*header[name]["shape"][::-1], 1], "turned"
    text = json.dumps(header).encode()
    length = draw.choice([len(text)] * 8 + [2**63, 2**40, 0, len(text) - 1])
    files["params.safetensors"] = length.to_bytes(8, "little") + text + rest
    return f"params.safetensors: {kind} {str(words)[:100]} {length}"


def values(draw, files):
    """Parameters of other values, in place."""
    data = bytearray(files["params.safetensors"])
    start = 8 + int.from_bytes(data[:8], "little")
    array = np.frombuffer(bytes(data[start:]), np.float32).copy()
    array[draw.randrange(len(array)) :: draw.choice([1, 2, 100])] = draw.choice(
        [np.nan, np.inf, -np.inf, 1e38, 1e-45, 0]
    )
    files["params.safetensors"] = bytes(data[:start]) + array.tobytes()
    return "values of the parameters"


def codes(draw, files):
    """codes.npz with other headers and members."""
    arrays = {"z": np.zeros((27, 3), np.float32), "index": np.arange(27), "y": np.arange(27)}
    data, kind = io.BytesIO(), draw.randrange(5)
    with zipfile.ZipFile(data, "w", draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, np.array([{}]) if kind == 0 and name == "z" else array, allow_pickle=True)
            content = content.getvalue()
            if kind == 1:
                shape = draw.choice(
                    [b"(2**40,)", b"(99999999999,)", b"(-1, 3)", b"()", b"(True,)", b"((),)", b"(27.0, 3)"]
                )
                content = re.sub(rb"\([\d, ]*\)", shape, content, count=1)
            archive.writestr(f"{name}.npy", some_bytes(draw, content) if kind == 2 else content)
        for place in range(20_000 if kind == 3 else 0):
            archive.writestr(f"a{place}.npy", b"")
    files["codes.npz"] = data.getvalue()
    return f"codes.npz: {kind}"


def absent(draw, files):
    name = draw.choice(sorted(files))
    del files[name]
    return f"without {name}"


FILES = [(a_setting, 10), (a_record, 5), (tensors, 4), (a_file, 3), (a_text, 2), (codes, 1), (values, 1), (absent, 0.5)]


def archived(draw, files):
    """The bytes of an archive of the files, of which the format itself may be hostile; a line that says how."""
    kind, words = (
        draw.choice(
            ["plain"] * 20 + ["bytes"] * 8 + ["names", "link", "large", "many", "top", "twice", "sizes", "flags"]
        ),
        "",
    )
    top = draw.choice(["run/", "a/b/", "../", "/"]) if kind == "top" else ""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(top + name, content, draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
        if kind == "names":
            words = draw.choice(NAMES)
            archive.writestr(words, b"evil")
        if kind == "link":
            entry = zipfile.ZipInfo(draw.choice(["a", "figures", "wandb/b"]))
            entry.external_attr = 0o120777 << 16
            archive.writestr(entry, "/etc/passwd")
        if kind == "large":
            name = draw.choice(["run.json", "params.safetensors", "codes.npz", "history.csv", "figures/a.png"])
            with contextlib.suppress(ValueError):
                archive.filelist = [entry for entry in archive.filelist if entry.filename != name]
                archive.NameToInfo.pop(name, None)
                archive.writestr(name, bytes(draw.choice([2**22, 2**26, 2**27])), zipfile.ZIP_DEFLATED)
        if kind == "many":
            for place in range(draw.choice([1000, 30_000])):
                archive.writestr(f"figures/{place}.png", b"")
        if kind == "twice":
            archive.filelist.append(draw.choice(archive.filelist))
    data = bytearray(data.getvalue())
    if kind == "sizes":  # in the directory, at 20 and 24 of an entry; and in the end
        at = data.rindex(draw.choice([b"PK\x01\x02", b"PK\x05\x06"])) + draw.choice([8, 10, 12, 16, 20, 24, 42])
        data[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", (2**30).to_bytes(4, "little")])
    if kind == "flags":
        at = data.index(b"PK\x01\x02") + draw.choice([6, 8, 10])
        data[at] = draw.randrange(256)
    if kind == "bytes":
        data = some_bytes(draw, data)
    return bytes(data), f"archive: {kind} {ascii(words)[:40]}".strip()


def made(number, seed, runs, folder):
    """Writes a case into `folder`; returns the path to load, and what was changed."""
    draw = random.Random(f"{seed}/{number}")
    files, words = dict(draw.choice(runs)), []
    if draw.random() < 0.85:
        change = draw.choices([change for change, _ in FILES], [weight for _, weight in FILES])[0]
        words.append(change(draw, files))
    if draw.random() < 0.25:
        path = folder / "run"
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path, "; ".join(["a folder", *words])
    content, how = archived(draw, files)
    path = folder / "run.zip"
    path.write_bytes(content)
    return path, "; ".join([*words, how])
