"""Tab completion in bash, for `aejax` and `python -m aejax`: groups, choices, settings. Imports no jax."""

from aejax.config import hints
from aejax.config.menu import CONF, choice, common, folders, groups

OPTIONS = ("--cfg", "--config-dir", "--help", "--hydra-help", "--info", "--multirun", "--resolve", "--version", "-m")
VALUES = {"--cfg": ("job", "hydra", "all"), "-c": ("job", "hydra", "all"), "--info": ("all", "config", "searchpath")}

INSTALL = r"""_aejax_complete() {
    local line="${COMP_LINE:0:$COMP_POINT}" program="${COMP_WORDS[0]/#\~/$HOME}" rest whole kept IFS=$'\n'
    COMPREPLY=()
    case "$line" in
        *" -m aejax "*) rest="${line#* -m aejax }" ;;
        *"/aejax/__main__.py "*) rest="${line#*/aejax/__main__.py }" ;;
        *python*) return ;;
        *) rest="${line#* }" ;;
    esac
    whole="${line##* }"
    kept="${whole%"${whole##*[=:]}"}"
    case "$program" in
        *python*) COMPREPLY=($(COMP_LINE="aejax $rest" "$program" -m aejax -sc query=bash 2>/dev/null)) ;;
        *) COMPREPLY=($(COMP_LINE="aejax $rest" "$program" -sc query=bash 2>/dev/null)) ;;
    esac
    if [[ "$COMP_WORDBREAKS" == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    fi
}
complete -o nospace -o default -F _aejax_complete aejax python python3
"""
UNINSTALL = "complete -r aejax python python3; unset -f _aejax_complete\n"


def answer(action, line):
    """What `-sc` prints: `action` is install, uninstall or query; `line` is the command line up to the cursor."""
    if action != "query":
        return INSTALL if action == "install" else UNINSTALL
    *words, word = line.split(" ")[1:]
    return "".join(f"{candidate}\n" for candidate in candidates([entry for entry in words if entry], word))


def candidates(words, word):
    """The completions of `word` after these words, sorted; a complete one ends with a space."""
    if words and words[-1] in VALUES:
        return [f"{value} " for value in VALUES[words[-1]] if value.startswith(word)]
    if word.startswith("-"):
        return [f"{option} " for option in OPTIONS if option.startswith(word)]
    places = folders(words)
    known = groups(places)
    sign = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, value = word[len(sign) :].partition("=")
    pairs = (entry.lstrip("+").split("=", 1) for entry in words if "=" in entry)
    chosen = {group: name.split(",")[0] for group, name in pairs if group in known}
    if equals and key in known:
        before = value[: value.rfind(",") + 1]
        return sorted(f"{sign}{key}={before}{name} " for name in known[key] if f"{before}{name}".startswith(value))
    if equals:
        written = _value(key, chosen, places)
        return [f"{sign}{key}={written} "] if written and not value else []
    names = hints.keys(chosen, places)
    inner = {name.rpartition(".")[0] for name in names}  # mappings, which have no value, unless they are groups
    names = {f"{name}=" for name in {*names, *known} if name in known or name not in inner}
    return sorted({f"{sign}{_next(name, key)}" for name in names if name.startswith(key)})


def _next(name, begun):
    """`name` up to the next dot after what is typed already."""
    point = name.find(".", len(begun))
    return name if point < 0 else name[: point + 1]


def _value(key, chosen, places=(CONF,)):
    """The default of a setting, as conf/ writes it."""
    entries = common()
    for group, name in hints.all_chosen(chosen, places).items():
        if name in groups(places).get(group, ()):
            entries |= choice(group, name, places).settings
    return entries[key].value if key in entries else ""
