"""The documentation: the page of settings is complete and current, links work, nothing loads from the network."""

import importlib.util
import re

import pytest
import yaml
from conftest import CONF

ROOT = CONF.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def script(name):
    """The module docs/<name>.py."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_settings_is_up_to_date():
    settings = script("settings")
    assert settings.PAGE.read_text(encoding="utf-8") == settings.page(), "run python docs/settings.py"


def keys(node, prefix=""):
    """The dotted names of the settings in the mapping `node`."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from keys(value, f"{prefix}{key}.")
        elif key != "_target_" and value != {} and not str(value).startswith("${"):
            yield f"{prefix}{key}"


def settings_of_conf():
    """(file, dotted name) of each setting in conf/, read without aejax."""
    for path in sorted(CONF.rglob("*.yaml")):
        text, group = path.read_text(encoding="utf-8"), path.parent.relative_to(CONF).as_posix()
        node = yaml.safe_load(text) or {}
        prefix = "" if group == "." or "# @package _global_" in text else group.replace("/", ".") + "."
        for name in keys({key: value for key, value in node.items() if key not in ("defaults", "hydra")}, prefix):
            yield path, name


def test_each_setting_of_conf_is_on_the_page():
    rows = set(re.findall(r"^\| `([\w.]+)` \|", script("settings").PAGE.read_text(encoding="utf-8"), re.M))
    named = list(settings_of_conf())
    assert len(named) > 100
    # The page shows inherited settings where they are declared: once.
    assert not {f"{path.relative_to(CONF)}: {name}" for path, name in named if name not in rows}


def test_the_page_tells_leaves_from_structure():
    page = script("settings").PAGE.read_text(encoding="utf-8")
    kinds = {name: kind for name, kind in re.findall(r"^\| `([\w.]+)` \| .*? \| (leaf|static|–) \|", page, re.M)}
    assert [kinds[name] for name in ("seed", "model.beta", "noise.level", "optim.lr")] == ["leaf"] * 4
    assert [kinds[name] for name in ("steps", "net.widths", "data.limit", "sampler.components")] == ["static"] * 4
    assert [kinds[name] for name in ("figures", "track.mode", "lanes.how")] == ["–"] * 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_a_file(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    local = [address.partition("#")[0] for address in LINK.findall(text) if "://" not in address]
    missing = [address for address in local if address and not (page.parent / address).exists()]
    assert not missing


def test_what_a_page_loads_from_the_network_is_found():
    page = """<link rel="stylesheet" href="https://a.example/a.css"><link rel="canonical" href="https://b.example/">
    <script src="//c.example/c.js"></script><img src="d.png" srcset="d.png 1x, https://e.example/e.png 2x">
    <style>@import url("https://f.example/f.css"); p {background: url(//g.example/g.png)}</style>
    <a href="https://h.example/">read</a> <code>src="https://i.example/"</code>
    <img src="data:image/png;base64,//AA">"""
    found = {re.search(r"//(\w)\.example", address)[1] for address in script("offline").Page(page).remote}
    assert found == set("acefg")


def test_a_site_is_searched_file_by_file(tmp_path):
    (tmp_path / "css").mkdir()
    (tmp_path / "index.html").write_text('<script src="own.js"></script><a href="https://a.example/">a</a>')
    (tmp_path / "css" / "own.css").write_text("@font-face {src: url('https://fonts.example/f.woff2')}")
    assert script("offline").remote(tmp_path) == [(tmp_path / "css" / "own.css", "https://fonts.example/f.woff2")]
