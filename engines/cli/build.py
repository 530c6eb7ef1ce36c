"""`affectstream engines build`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from affectstream.engines.bundle.bundle_plans import PlanRequest
    from affectstream.engines.plans.build import BuildOptions
    from affectstream.engines.plans.plan import Plan

Precision = Literal["fp16", "fp32"]
RuntimeName = Literal["tensorrt", "tensorrt-rtx"]


def build(
    bundle: Annotated[str, typer.Option(help="'pocket', or a bundle's folder.")] = "pocket",
    role: Annotated[
        list[str] | None,
        typer.Option(help="Engine to build; may be repeated.", show_default="all"),
    ] = None,
    runtime: Annotated[
        RuntimeName | None,
        typer.Option(help="For data-centre, or for RTX cards.", show_default="what is installed"),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Of encoders and head; a detector is FP32.")
    ] = "fp16",
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help="Batch sizes, MIN-MAX or MIN-OPT-MAX, with ranges for other axes behind commas "
            "(1-8,H=224,W=384); may be repeated. --device takes plans that hold the default only.",
            show_default="1 and 1-8-64",
        ),
    ] = None,
    compute_capability: Annotated[
        str | None,
        typer.Option(
            help="GPUs to build for, with tensorrt-rtx only: 86 is 8.6.",
            show_default="80,86,89,120,121",
        ),
    ] = None,
    workspace: Annotated[
        str, typer.Option(help="GPU memory that one layer may use, such as 512MiB.")
    ] = "2GiB",
    level: Annotated[
        int, typer.Option(min=0, max=5, help="How long to look for the fastest kernels.")
    ] = 3,
) -> None:
    """Compile the engines of a bundle and keep the plans. What was built before is not built again.

    TensorRT for RTX builds for other GPUs and needs none here; TensorRT builds for the GPU of this
    machine. The result is compared with ONNX Runtime where it can run here.

    Example: [bold]affectstream engines build --compute-capability 86,89[/bold]
    """
    from affectstream.engines.bundle.bundle import locate, read_manifest
    from affectstream.engines.bundle.bundle_plans import plan_requests
    from affectstream.engines.cache.sizes import parse_size
    from affectstream.engines.errors import BuildError, UsageError
    from affectstream.engines.plans.build import BuildOptions
    from affectstream.engines.plans.profiles import parse_profile
    from affectstream.engines.plans.target import target_for

    options = BuildOptions(precision=precision, workspace_bytes=parse_size(workspace), level=level)
    if profile:
        options = _with_profiles(options, [parse_profile(text) for text in profile])
    folder = locate(bundle)
    plans = plan_requests(folder, read_manifest(folder), options, role or ())
    name, capabilities = runtime or _installed(), _numbers(compute_capability)
    try:
        target = target_for(name, capabilities)
    except BuildError as error:  # capabilities that this runtime does not build for
        raise UsageError(str(error)) from error
    typer.echo(f"{target.runtime} {target.version} for {target.device}, {precision}")
    try:
        _show(_build_all(plans, target))
    except KeyboardInterrupt:
        typer.echo("error: interrupted; finished plans are kept, nothing half-built is", err=True)
        raise


def _with_profiles(options: BuildOptions, profiles: list[Any]) -> BuildOptions:
    from msgspec import structs

    return structs.replace(options, profiles=tuple(profiles))


def _installed() -> RuntimeName:
    """The first runtime that loads. Raises `DeviceError` with both reasons where none does."""
    from affectstream.engines.errors import DeviceError
    from affectstream.engines.runtimes.nvidia import RUNTIMES, load

    reasons = []
    for name in RUNTIMES:
        try:
            return load(name).runtime
        except DeviceError as error:
            reasons.append(str(error))
    raise DeviceError("; ".join(reasons))


def _numbers(text: str | None) -> list[int]:
    numbers = [number.strip() for number in text.split(",")] if text else []
    if wrong := [number for number in numbers if not number.isdecimal()]:
        raise typer.BadParameter(
            f"{wrong[0]!r} is no compute capability: expected such as 86 or 86,89",
            param_hint="--compute-capability",
        )
    return [int(number) for number in numbers]


def _build_all(plans: list[PlanRequest], target: Any) -> list[tuple[str, Plan, bool]]:
    """Role, plan and whether it was there already, of each; one that was set aside and built again was
    not."""
    from affectstream.engines.plans.store import PlanStore

    store, built = PlanStore(), []
    there = {plan.path: plan.meta for plan in store.plans()}
    with _bar() as bar:
        for want in plans:
            task = bar.add_task(want.role, total=1.0) if bar else None

            def advance(fraction: float, task: Any = task) -> None:
                if bar:
                    bar.update(task, completed=fraction)

            plan = store.plan_for(want.source, want.options, target, progress=advance)
            advance(1.0)
            built.append((want.role, plan, there.get(plan.path) == plan.meta))
    return built


def _bar() -> AbstractContextManager[Any]:
    """A progress bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True) if console.is_terminal else nullcontext()


def _show(built: list[tuple[str, Plan, bool]]) -> None:
    from affectstream.engines.cache.sizes import format_size

    typer.echo(f"{'engine':16}{'half/float':>12}{'plan':>12}{'seconds':>10}  accuracy")
    for role, plan, there in built:
        meta = plan.meta
        layers = f"{meta.types.half}/{meta.types.float}"
        seconds = "kept" if there else f"{meta.seconds:.1f}"
        line = f"{role:16}{layers:>12}{format_size(meta.bytes):>12}{seconds:>10}  {meta.gate.state}"
        typer.echo(line)
    for reason in sorted({f"{p.meta.gate.state}: {p.meta.gate.reason}" for _, p, _ in built}):
        typer.echo(f"  {reason}")
    typer.echo(f"plans are in {built[0][1].path.parent}")
