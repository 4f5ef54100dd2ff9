"""`vaetools completion SHELL`: scripts for shells, and the tree of all commands that TAB shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaetools.cli.flags import DEBUG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BASH = """\
# Completion of vaetools for bash. To install it:
#   mkdir -p ~/.local/share/bash-completion/completions
#   vaetools completion bash > ~/.local/share/bash-completion/completions/vaetools
# Without the package bash-completion, add to ~/.bashrc: eval "$(vaetools completion bash)"

_vaetools() {
    local kind value help
    COMPREPLY=()
    while IFS=$'\\t' read -r kind value help; do
        case $kind in
            word) COMPREPLY+=("$value") ;;
            file) compopt -o default 2>/dev/null ;;
            dir) compopt -o dirnames 2>/dev/null ;;
        esac
    done < <(VAETOOLS_COMPLETE=bash "$1" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

complete -o nosort -F _vaetools vaetools 2>/dev/null || complete -F _vaetools vaetools
"""

ZSH = """\
#compdef vaetools
# Completion of vaetools for zsh. To install it:
#   mkdir -p ~/.zfunc && vaetools completion zsh > ~/.zfunc/_vaetools
# and in ~/.zshrc, before compinit: fpath=(~/.zfunc $fpath)
# Without a file, add after compinit: eval "$(vaetools completion zsh)"

_vaetools() {
    local kind value help paths
    local -a found
    while IFS=$'\\t' read -r kind value help; do
        case $kind in
            word) found+=("${value//:/\\\\:}:$help") ;;
            file) paths=files ;;
            dir) paths=folders ;;
        esac
    done < <(VAETOOLS_COMPLETE=zsh ${words[1]} "${(@Q)words[2,CURRENT]}" 2>/dev/null)
    (( $#found )) && _describe -V vaetools found
    case $paths in
        files) _files ;;
        folders) _files -/ ;;
    esac
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _vaetools "$@"
else
    compdef _vaetools vaetools
fi
"""

FISH = """\
# Completion of vaetools for fish. To install it:
#   mkdir -p ~/.config/fish/completions
#   vaetools completion fish > ~/.config/fish/completions/vaetools.fish

function __vaetools_complete
    set -l words (commandline -opc) (commandline -ct | string collect --allow-empty)
    for line in (env VAETOOLS_COMPLETE=fish $words[1] $words[2..-1] 2>/dev/null)
        set -l parts (string split \\t -- $line)
        switch $parts[1]
            case word
                printf '%s\\t%s\\n' $parts[2] $parts[3]
            case file
                __fish_complete_path $words[-1]
            case dir
                __fish_complete_directories $words[-1]
        end
    end
end

complete --command vaetools --no-files --arguments '(__vaetools_complete)' --keep-order
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

MOST_HELP = 70
"""Characters of help next to a flag or a command."""


@click.command("completion")
@click.argument("shell", metavar="SHELL", type=click.Choice([*SCRIPTS]))
@DEBUG
def command(shell: str) -> None:
    """Print a script that completes commands and options in a shell.

    SHELL is bash, zsh or fish. TAB then completes commands, options and their values, models,
    recipes, error codes and files, those of plugins included. The script begins with the lines that
    install it.

    \b
    Examples:
      vaetools completion bash
      vaetools completion zsh > ~/.zfunc/_vaetools
      vaetools completion fish > ~/.config/fish/completions/vaetools.fish
    """
    click.echo(SCRIPTS[shell], nl=False)


def tree_of(plugins_dirs: Sequence[str] = ()) -> dict[str, Any]:
    """All commands with their flags and values, as `vaetools.cli.tab.completions` takes them.

    Args:
        plugins_dirs: Folders of plugins, as `--plugins-dir` names them.
    """
    from vaetools.cli.app import program

    ctx = click.Context(program, info_name="vaetools")
    ctx.params["plugins_dir"] = tuple(plugins_dirs)
    with ctx:
        return _node(program, ctx)


def _node(command: click.Command, ctx: click.Context) -> dict[str, Any]:
    node: dict[str, Any] = {
        "help": command.get_short_help_str(MOST_HELP),
        "flags": dict(_flags(command, ctx)),
        "arguments": [
            {"values": _values(argument, ctx), "repeatable": argument.nargs == -1}
            for argument in command.params
            if isinstance(argument, click.Argument)
        ],
        "commands": {},
    }
    if not isinstance(command, click.Group):
        return node
    names = command.list_commands(ctx)
    if getattr(command, "is_chain", False):
        from vaetools.cli.context import host_of

        node |= {"is_chain": True, "operations": [[n, host_of(ctx).summary(n)] for n in names]}
        return node
    for name in names:
        found = command.get_command(ctx, name)
        if found is not None and not found.hidden:
            node["commands"][name] = _node(found, click.Context(found, parent=ctx, info_name=name))
    return node


def _flags(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, dict[str, Any]]]:
    for option in command.get_params(ctx):
        if not isinstance(option, click.Option) or option.hidden:
            continue
        names = [*option.opts, *option.secondary_opts]
        facts = {
            "help": (option.help or "").split(". ")[0][:MOST_HELP].rstrip("."),
            "takes_value": not option.is_flag and not option.count,
            "repeatable": option.multiple,
            "values": [] if option.is_flag else _values(option, ctx),
            "same": names,
        }
        for name in names:
            yield name, facts


def _values(parameter: click.Parameter, ctx: click.Context) -> list[list[str]]:
    """What the value of a flag or an argument may be."""
    try:
        found = parameter.shell_complete(ctx, "")
    except Exception:  # noqa: BLE001 - of a plugin; the rest can be completed
        return []
    kinds = {"plain": "word"}
    return [[kinds.get(one.type, one.type), one.value, one.help or ""] for one in found]


def depends_on() -> list[str]:
    """Files and folders that a tree depends on: programs, plugins, models, installed packages."""
    import vaetools
    from vaetools.model.registry import default_folders as model_folders
    from vaetools.plugin.host import default_folders as plugin_folders

    own = Path(vaetools.__file__).parent
    sources = [*own.glob("cli/*.py"), *own.glob("operation/*.py"), *own.glob("training/recipes/*")]
    for name in ("vaetools_plugins", "vaetools_models"):
        sources += [p for entry in sys.path for p in Path(entry, name).glob("*") if entry]
    folders = [*model_folders(), *plugin_folders()]
    for folder in folders:
        sources += [folder, *folder.glob("*"), *folder.glob("*/model.toml")]
    installed = [entry for entry in sys.path if entry.endswith("packages")]
    return sorted({os.path.abspath(path) for path in (*map(str, sources), *installed)})  # noqa: PTH100
