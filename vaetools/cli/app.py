"""The program: global options, the list of commands, and how errors end it."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

import click

from vaetools import __version__
from vaetools.errors import EXIT_INTERRUPTED, UNEXPECTED, PluginError, VaetoolsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vaetools.hub import Hub
    from vaetools.plugin.host import PluginHost

COMMANDS = {
    "run": "Run several operations one after the other, or one over a video.",
    "info": "Say what files are, without decoding them.",
    "eval": "Compare pictures: PSNR, SSIM, MS-SSIM, bits per pixel.",
    "models": "List, show and verify models.",
    "plugins": "List plugins and what they offer.",
    "doctor": "Check the installation.",
    "demo": "Compress bundled photographs and show the result.",
    "train": "Train a model with a recipe.",
    "export": "Turn a training run, or weights from elsewhere, into a model.",
    "inspect": "Look inside a model: latents, traversals, what it knows.",
}
"""Commands that are not operations, each in the module of its name."""


class Program(click.Group):
    """Operations come from plugins, so they are looked up when the command line is read."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        host = host_of(ctx)
        return [*host.operations, *COMMANDS, *host.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"vaetools.cli.{cmd_name}")
            command: click.Command = module.command
            return command
        host = host_of(ctx)
        if cmd_name in host.operations:
            from vaetools.cli.operation import operation_command

            return operation_command(host.operations[cmd_name])
        return host.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from vaetools.operation import summary_of

        host = host_of(ctx)
        operations = [(name, summary_of(kind)) for name, kind in host.operations.items()]
        others = [(n, c.get_short_help_str(80)) for n, c in host.commands.items()]
        with formatter.section("Operations on files and folders"):
            formatter.write_dl(operations)
        with formatter.section("Other commands"):
            formatter.write_dl([*COMMANDS.items(), *others])


def host_of(ctx: click.Context) -> PluginHost:
    """The plugin host of this invocation, made once; broken plugins are named on stderr."""
    root = ctx.find_root()
    if root.obj is None:
        from vaetools.plugin.host import PluginHost, default_folders

        root.obj = PluginHost(folders=default_folders(root.params.get("plugins_dir") or ()))
        for plugin in root.obj.broken:
            warn(plugin.error)
        if root.obj.broken and root.params.get("strict_plugins"):
            raise PluginError(f"{len(root.obj.broken)} plugins are broken")
    host: PluginHost = root.obj
    return host


def hub_of(
    ctx: click.Context,
    *,
    models_dir: Iterable[str] = (),
    device: str = "auto",
    threads: int | None = None,
) -> Hub:
    """The hub of this invocation: its plugins, and the models that it names."""
    from vaetools.hub import Hub
    from vaetools.model.registry import default_folders

    return Hub(host_of(ctx), default_folders(models_dir), device=device, threads=threads)


def warn(error: VaetoolsError | None) -> None:
    """One line on stderr."""
    if error is not None:
        click.echo(error.line, err=True)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vaetools")
@click.option(
    "--plugins-dir",
    multiple=True,
    metavar="DIR",
    is_eager=True,
    help="Load the plugins in a folder.",
)
@click.option("--strict-plugins", is_flag=True, is_eager=True, help="Stop if a plugin is broken.")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
def program(**_: Any) -> None:
    """Image tools made of variational autoencoders.

    \b
    vaetools compress photos/ -o packed/      vaetools decompress packed/ -o back/
    vaetools COMMAND --help                   says more
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit: one line for an error, and the error's own exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    if debug:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("vaetools").setLevel(logging.DEBUG)
    try:
        code = program.main(words, prog_name="vaetools", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except VaetoolsError as error:
        _fail(error.line, error.exit_code, debug)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail("interrupted", EXIT_INTERRUPTED, debug)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        line = f"{UNEXPECTED} {type(error).__name__}: {error}; please report it, with --debug"
        _fail(" ".join(line.split()), 1, debug)


def _fail(line: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    click.echo(line, err=True)
    sys.exit(code)
