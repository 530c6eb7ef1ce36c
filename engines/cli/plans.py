"""`affectstream engines list`, `inspect` and `clean`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affectstream.engines.runtimes.nvidia import NvidiaRuntime

if TYPE_CHECKING:
    from affectstream.engines.fp16.store import Fp16File
    from affectstream.engines.plans.plan import Plan, Tensor
    from affectstream.engines.plans.store import PlanStore


def list_plans() -> None:
    """List the plans and the FP16 graphs, most recently used first.

    Example: [bold]affectstream engines list[/bold]
    """
    from affectstream.engines.cache.sizes import format_size
    from affectstream.engines.fp16.store import Fp16Store
    from affectstream.engines.plans.store import PlanStore

    store = PlanStore()
    plans = store.plans()
    _print_table([_TITLES, *map(_row, plans)])
    total = format_size(sum(plan.meta.bytes for plan in plans))
    typer.echo(f"{len(plans)} plans, {total}, in {store.root} (times are UTC)")
    graph_store = Fp16Store()
    graphs = graph_store.graphs()
    if graphs:
        typer.echo()
        _print_table([_GRAPH_TITLES, *map(_graph_row, graphs)])
    total = format_size(sum(graph.bytes for graph in graphs))
    typer.echo(f"{len(graphs)} FP16 graphs, {total}, in {graph_store.root}")
    for fault in store.faults():
        typer.echo(f"warning: {fault}", err=True)


def inspect(
    plan: Annotated[
        str, typer.Argument(help="A plan's file, or the start of its key.", show_default=False)
    ],
) -> None:
    """Show everything about one plan (key, inputs, outputs, accuracy, log) and check its hash.

    Example: [bold]affectstream engines inspect 3f9a[/bold]
    """
    import msgspec

    from affectstream.engines.cache.sizes import format_size
    from affectstream.engines.plans.store import PlanStore

    opened = _find(PlanStore(), plan)
    meta = opened.meta
    content = opened.read()
    typer.echo(f"{opened.path}\n  hash       agrees, {format_size(len(content))}")
    typer.echo(f"  key        {meta.key}")
    typer.echo(
        f"  built      {meta.built}, in {meta.seconds} s; last used {opened.last_used:%Y-%m-%d %H:%M:%S}"
    )
    for title, tensors in (("inputs", meta.inputs), ("outputs", meta.outputs)):
        typer.echo(f"  {title:10} {'; '.join(map(_describe, tensors))}")
    profiles = " and ".join(map(str, meta.fields.options.profiles)) or "none, all axes are fixed"
    typer.echo(f"  profiles   {profiles}")
    types = meta.types
    typer.echo(
        f"  requested  {types.fp16} outputs of layers FP16, {types.fp32} FP32; convolutions and matrix "
        f"products: {types.fp16_products} and {types.fp32_products}"
    )
    typer.echo(f"  built as   {_built_types(opened, content)}")
    typer.echo(f"  accuracy   {meta.accuracy.state}: {meta.accuracy.reason}")
    typer.echo("  key fields")
    fields = msgspec.json.format(msgspec.json.encode(meta.fields, order="sorted"), indent=2)
    typer.echo("\n".join(f"    {line}" for line in fields.decode().splitlines()))
    typer.echo("  end of the build's log")
    typer.echo("\n".join(f"    {line}" for line in meta.log))


def clean(
    everything: Annotated[bool, typer.Option("--all", help="All plans and FP16 graphs.")] = False,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Those not used for this many days.")
    ] = None,
    runtime: Annotated[NvidiaRuntime | None, typer.Option(help="Plans of this runtime.")] = None,
    to_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="The least recently used, until the rest has this size."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete plans and FP16 graphs that meet all given conditions, after asking.

    The quarantine is deleted too. Plans and graphs can always be built again.

    Example: [bold]affectstream engines clean --older-than 30[/bold]
    """
    from affectstream.engines.cache.eviction import least_recently_used
    from affectstream.engines.cache.sizes import format_size, parse_size
    from affectstream.engines.fp16.store import Fp16Store
    from affectstream.engines.plans.plan import Plan
    from affectstream.engines.plans.store import PlanStore

    conditions = (older_than is not None, runtime is not None, to_size is not None)
    if everything == any(conditions):
        raise typer.BadParameter("give --all, or one or more of --older-than, --runtime, --to-size")
    store, graph_store = PlanStore(), Fp16Store()
    entries: list[Plan | Fp16File] = [*store.plans(), *graph_store.graphs()]
    if to_size is not None:
        entries = least_recently_used(entries, parse_size(to_size))
    if older_than is not None:
        before = datetime.now(UTC) - timedelta(days=older_than)
        entries = [entry for entry in entries if entry.last_used < before]
    plans = [entry for entry in entries if isinstance(entry, Plan)]
    # A graph belongs to no runtime.
    graphs = [entry for entry in entries if not isinstance(entry, Plan) and runtime is None]
    if runtime is not None:
        plans = [plan for plan in plans if plan.meta.fields.target.runtime == runtime]
    for plan in plans:
        target = plan.meta.fields.target
        typer.echo(f"{plan.meta.key[:12]}  {plan.meta.name}  {target.runtime} {target.version}")
    for graph in graphs:
        typer.echo(f"{graph.path.stem[:12]}  {graph.name}  FP16 graph")
    total = format_size(sum(plan.bytes for plan in plans) + sum(graph.bytes for graph in graphs))
    what = f"{len(plans)} plans and {len(graphs)} FP16 graphs"
    if (plans or graphs) and not yes and not _confirm(f"delete these {what}, {total}?"):
        typer.echo("nothing deleted")
        return
    freed = store.remove(plans) + store.sweep() + graph_store.remove(graphs) + graph_store.sweep()
    typer.echo(f"{what} deleted, {format_size(freed)} freed in {store.root.parent}")


def _confirm(question: str) -> bool:
    """Ask for a yes. Not with `typer.confirm`, which takes Ctrl-C for a no."""
    typer.echo(f"{question} [y/N]: ", nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


_TITLES = (
    *("key", "engine", "runtime", "for", "precision", "size", "built", "last used"),
    "profiles",
)


def _row(plan: Plan) -> tuple[str, ...]:
    from affectstream.engines.cache.sizes import format_size

    meta, target, options = plan.meta, plan.meta.fields.target, plan.meta.fields.options
    return (
        meta.key[:12],
        meta.name,
        f"{target.runtime} {target.version}",
        target.device,
        options.precision,
        format_size(meta.bytes),
        meta.built[:16].replace("T", " "),
        f"{plan.last_used:%Y-%m-%d %H:%M}",
        " ".join(map(str, options.profiles)),
    )


_GRAPH_TITLES = ("key", "derived from", "size", "last used")


def _graph_row(graph: Fp16File) -> tuple[str, ...]:
    from affectstream.engines.cache.sizes import format_size

    used = f"{graph.last_used:%Y-%m-%d %H:%M}"
    return graph.path.stem[:12], graph.name, format_size(graph.bytes), used


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _find(store: PlanStore, text: str) -> Plan:
    from affectstream.engines.errors import UsageError
    from affectstream.engines.plans.plan import open_plan

    if text.endswith(".plan"):
        return open_plan(Path(text))
    plans = [plan for plan in store.plans() if plan.meta.key.startswith(text)]
    if len(plans) != 1:
        raise UsageError(
            f"{len(plans)} plans have a key that begins with {text!r}: see affectstream engines list"
        )
    return plans[0]


def _describe(tensor: Tensor) -> str:
    return f"{tensor.name} ({', '.join(map(str, tensor.shape))}) {tensor.dtype}"


def _built_types(plan: Plan, content: bytes) -> str:
    """The types of the plan's layers, or why they are not known."""
    from affectstream.engines.errors import DeviceError
    from affectstream.engines.plans.inspector import layer_types
    from affectstream.engines.runtimes.cuda.driver import query_gpu
    from affectstream.engines.runtimes.nvidia import load

    try:
        query_gpu()
        types = layer_types(content, load(plan.meta.fields.target.runtime))
    except DeviceError as error:
        return f"not known, reading them needs a GPU: {error}"
    return ", ".join(f"{count} {name}" for name, count in types.items())
