"""What the shell offers as values of flags and arguments: models, devices, recipes, error codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    Values = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

DEVICES = ("auto", "cpu", "cuda", "tensorrt", "openvino", "webgpu", "coreml", "dml", "migraphx")


def devices(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Kinds of devices."""
    return [CompletionItem(name) for name in DEVICES if name.startswith(typed)]


def models(*tasks: str) -> Values:
    """Ids of the models that have one of the tasks; of all models without tasks."""

    def found(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
        from vaetools.cli.context import hub_of

        manifests = [entry.manifest for entry in hub_of(ctx).registry.entries]
        return [
            CompletionItem(one.id, help=", ".join(one.tasks))
            for one in manifests
            if one is not None
            and one.id.startswith(typed)
            and (not tasks or {*tasks} & {*one.tasks})
        ]

    return found


def recipes(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Shipped recipes, and files."""
    from vaetools.training.recipe import SHIPPED

    names = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    found = [CompletionItem(name) for name in names if name.startswith(typed)]
    return [*found, CompletionItem(typed, type="file")]


def codes(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Error codes."""
    from vaetools.explanations import explanations

    found = explanations().values()
    return [
        CompletionItem(one.code, help=one.meaning) for one in found if one.code.startswith(typed)
    ]
