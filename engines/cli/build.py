"""`affectstream engines build`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affectstream.engines.fp16.precision import Precision
from affectstream.engines.runtimes.nvidia import NvidiaRuntime

if TYPE_CHECKING:
    from affectstream.engines.bundle.bundle_plans import PlanRequest
    from affectstream.engines.plans.plan import Plan
    from affectstream.engines.plans.target import Target


def build(
    bundle: Annotated[str, typer.Option(help="'pocket', or a bundle's folder.")] = "pocket",
    role: Annotated[
        list[str] | None,
        typer.Option(help="Engine to build; may be repeated.", show_default="all"),
    ] = None,
    runtime: Annotated[
        NvidiaRuntime | None,
        typer.Option(
            help="For data-center cards, or for RTX cards.", show_default="the one installed"
        ),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Of encoders and head; a detector is always FP32.")
    ] = "fp16",
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help="Batch sizes, MIN-MAX or MIN-OPT-MAX, with ranges for other axes after commas "
            "(1-8,H=224,W=384); may be repeated. --device uses only plans that admit the default.",
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
        int, typer.Option(min=0, max=5, help="How long to search for the fastest kernels.")
    ] = 3,
) -> None:
    """Compile the engines of a bundle and store the plans. Plans that exist are not built again.

    TensorRT for RTX builds for any RTX card and needs no GPU; TensorRT builds for the GPU of this machine. A
    plan that can run here is compared with ONNX Runtime.

    Example: [bold]affectstream engines build --compute-capability 86,89[/bold]
    """
    from msgspec import structs

    from affectstream.engines.bundle.bundle_plans import plan_requests
    from affectstream.engines.bundle.folder import find_bundle, read_manifest
    from affectstream.engines.cache.sizes import parse_size
    from affectstream.engines.errors import BuildError, UsageError
    from affectstream.engines.plans.build import BuildOptions
    from affectstream.engines.plans.profiles import parse_profile
    from affectstream.engines.plans.target import target_for

    options = BuildOptions(precision=precision, workspace_bytes=parse_size(workspace), level=level)
    if profile:
        options = structs.replace(options, profiles=tuple(map(parse_profile, profile)))
    folder = find_bundle(bundle)
    requests = plan_requests(folder, read_manifest(folder), options, role or ())
    name, capabilities = runtime or _installed(), _parse_capabilities(compute_capability)
    try:
        target = target_for(name, capabilities)
    except BuildError as error:  # a compute capability that this runtime does not build for
        raise UsageError(str(error)) from error
    typer.echo(f"{target.runtime} {target.version} for {target.device}, {precision}")
    try:
        _print(_build_all(requests, target))
    except KeyboardInterrupt:
        typer.echo("error: interrupted; finished plans are kept, nothing half-built is", err=True)
        raise


def _installed() -> NvidiaRuntime:
    """The first runtime that loads. Raises `DeviceError` with all reasons when none does."""
    from affectstream.engines.errors import DeviceError
    from affectstream.engines.runtimes.nvidia import NVIDIA_RUNTIMES, load

    reasons = []
    for name in NVIDIA_RUNTIMES:
        try:
            return load(name).runtime
        except DeviceError as error:
            reasons.append(str(error))
    raise DeviceError("; ".join(reasons))


def _parse_capabilities(text: str | None) -> list[int]:
    numbers = [number.strip() for number in text.split(",")] if text else []
    if wrong := [number for number in numbers if not number.isdecimal()]:
        raise typer.BadParameter(
            f"{wrong[0]!r} is not a compute capability: expected such as 86 or 86,89",
            param_hint="--compute-capability",
        )
    return [int(number) for number in numbers]


def _build_all(requests: list[PlanRequest], target: Target) -> list[tuple[str, Plan, bool]]:
    """The role and the plan of each request, and whether the plan existed before."""
    from affectstream.engines.plans.store import PlanStore

    store, plans = PlanStore(), []
    existing = {plan.path: plan.meta for plan in store.plans()}
    with _progress_bar() as bar:
        for request in requests:
            task = bar.add_task(request.role, total=1.0) if bar else None

            def advance(fraction: float, task: Any = task) -> None:
                if bar:
                    bar.update(task, completed=fraction)

            plan = store.plan_for(request.source, request.options, target, progress=advance)
            advance(1.0)
            # A damaged plan that was built again has the same path, but other metadata.
            plans.append((request.role, plan, existing.get(plan.path) == plan.meta))
    return plans


def _progress_bar() -> AbstractContextManager[Any]:
    """A progress bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True) if console.is_terminal else nullcontext()


def _print(plans: list[tuple[str, Plan, bool]]) -> None:
    from affectstream.engines.cache.sizes import format_size

    typer.echo(f"{'engine':16}{'FP16/FP32':>12}{'plan':>12}{'seconds':>10}  accuracy")
    for role, plan, existed in plans:
        meta = plan.meta
        layers = f"{meta.types.fp16}/{meta.types.fp32}"
        seconds = "kept" if existed else f"{meta.seconds:.1f}"
        line = f"{role:16}{layers:>12}{format_size(meta.bytes):>12}{seconds:>10}"
        typer.echo(f"{line}  {meta.accuracy.state}")
    checks = [plan.meta.accuracy for _, plan, _ in plans]
    for reason in sorted({f"{check.state}: {check.reason}" for check in checks}):
        typer.echo(f"  {reason}")
    typer.echo(f"plans are in {plans[0][1].path.parent}")
