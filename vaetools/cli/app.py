"""The program: global options, the list of commands, and how errors end it."""

from __future__ import annotations

import contextlib
import copy
import errno
import gc
import importlib
import logging
import sys
import traceback
import warnings
from typing import Any, NoReturn

import click

from vaetools import __version__
from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import COMMAND, fit_remedy, host_of
from vaetools.cli.output import own_output, stdout_error, unfiltered_output
from vaetools.cli.signals import RESUME, exit_code
from vaetools.cli.streams import open_closed_streams, own_stderr, quiet_libraries
from vaetools.errors import (
    UnexpectedError,
    UsageError,
    VaetoolsError,
    did_you_mean,
)
from vaetools.libraries import library_error
from vaetools.system_errors import system_error
from vaetools.text import describe, unfiltered

FULL = (errno.ENOSPC, errno.EDQUOT)

COMMANDS = {
    "run": "Run several operations in a row, or one over a video.",
    "shards": "Divide a folder of files into shards, for a job of many processes.",
    "view": "Show .vae files in the browser.",
    "serve": "Open a page for all operations in the browser.",
    "info": "Show file information without decoding pixels.",
    "report": "Write an HTML report of runs that have ended.",
    "eval": "Compare images: PSNR, SSIM, MS-SSIM, bits per pixel.",
    "models": "List, show and verify models.",
    "plugins": "List, create and check plugins.",
    "doctor": "Check the installation.",
    "desktop": "Show .vae files as images in file managers (Linux).",
    "explain": "Explain an error code.",
    "completion": "Print a script that completes commands and options in a shell.",
    "demo": "Try all four operations on sample photographs.",
    "train": "Train a model from a recipe.",
    "export": "Convert a training run, or weights from elsewhere, into a model.",
    "inspect": "Inspect a VAE: latents, traversals, which images it knows.",
}
"""Commands that are not operations, each in the module of its name: the first line of their help."""


class Program(click.Group):
    """Finds operations and commands when the command line is read, since plugins bring them."""

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
        of_plugin = host.commands.get(cmd_name)
        return None if of_plugin is None else _with_its_output(of_plugin)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            if args[0].startswith("-"):
                raise
        remedy = did_you_mean(args[0], self.list_commands(ctx)) or "see vaetools --help"
        raise UsageError(f"there is no command {args[0]!r}", remedy=remedy)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VaetoolsError as error:
            fit_remedy(error, ctx.meta.get(COMMAND))
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        host = host_of(ctx)
        with formatter.section("Operations on files and folders"):
            formatter.write_dl([(name, host.summary(name)) for name in host.operations])
        others = [(name, host.summary(name)) for name in host.commands]
        with formatter.section("Other commands"):
            formatter.write_dl([*COMMANDS.items(), *others])


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="vaetools")
@click.option(
    "--plugins-dir",
    multiple=True,
    type=LocalPath(),
    metavar="DIR",
    is_eager=True,
    help="Load the plugins in a folder (repeatable).",
)
@click.option("--strict-plugins", is_flag=True, is_eager=True, help="Stop if a plugin is broken.")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.pass_context
def program(ctx: click.Context, /, strict_plugins: bool, **_: Any) -> None:
    """Image tools built on variational autoencoders.

    vaetools COMMAND --help shows the options of a command, and examples.

    \b
    Examples:
      vaetools compress photos/ -o packed/
      vaetools decompress packed/ -o back/
      vaetools denoise photos/ -o clean/ --report clean.html
    """
    if strict_plugins:
        host_of(ctx)  # even if the command needs no plugin


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit: one line for an error, and the error's own exit code."""
    # Importing makes many objects and no garbage: the default of 700 costs a tenth of a short run.
    gc.set_threshold(50_000)
    open_closed_streams()
    words = sys.argv[1:] if arguments is None else arguments
    with contextlib.ExitStack() as streams:
        can_be_quiet = streams.enter_context(own_stderr())
        streams.enter_context(own_output())
        if can_be_quiet and "--debug" not in words:
            streams.enter_context(quiet_libraries())
        _run(words)


def _run(words: list[str]) -> NoReturn:
    """`main`, once the streams are set up."""
    debug = "--debug" in words
    # About odd files, which are errors of ours or none; a line of a library names no file.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(PIL|numpy)\b")
    if debug:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("vaetools").setLevel(logging.DEBUG)
    try:
        code = program.main(words, prog_name="vaetools", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except VaetoolsError as error:
        _fail(error.line, error.exit_code, debug)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail(_interrupted(words), exit_code(), debug)
    except _SHOWS_HELP as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        wrong = _usage_error(error)
        _fail(wrong.line, wrong.exit_code, debug)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        unfiltered(sys.stderr).close()  # nothing more to say, not even at the exit
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            full = stdout_error(error)  # raw frames, which pass by the filter
            _fail(full.line, full.exit_code, debug)
        known = (
            library_error(error)
            or system_error(error)
            or UnexpectedError(describe(error), remedy="please report it, with --debug")
        )
        _fail(known.line, known.exit_code, debug)


def _interrupted(words: list[str]) -> str:
    """The last line of an interrupted command; operations can be resumed."""
    command = next((word for word in words if not word.startswith("-")), "")
    return "interrupted" if command in COMMANDS and command != "run" else RESUME


def _with_its_output(command: click.Command) -> click.Command:
    """A plugin's command, which writes to the terminal itself: colours, bars, child processes."""
    copied = copy.copy(command)

    def invoke(ctx: click.Context) -> Any:
        with unfiltered_output():
            return command.invoke(ctx)

    copied.invoke = invoke  # type: ignore[method-assign]
    return copied


_SHOWS_HELP: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""From click 8.2 on, what a group without a command raises; its message is the whole help."""


def _usage_error(error: click.UsageError) -> UsageError:
    """An error of click's as one line with a code, as all others are."""
    help_of = error.ctx.command_path if error.ctx is not None else "vaetools"
    problem = error.format_message().rstrip(".")
    remedy = None if "?" in problem else f"see {help_of} --help"  # click made a suggestion
    return UsageError(problem[:1].lower() + problem[1:], remedy=remedy)


def _fail(line: str, code: int, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    click.echo(line, err=True)
    sys.exit(code)
