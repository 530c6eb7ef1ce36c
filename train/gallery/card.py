"""What a card of the gallery shows, and how numbers are written on it."""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.train.gallery.files import Interval
from affectstream.train.metrics import metric_title
from affectstream.train.pages.elements import Html


@dataclass(frozen=True, slots=True)
class Card:
    """One result."""

    kind: str
    title: str
    about: str
    headline: str
    """The figure that matters, without its interval."""
    interval: str
    value: float | None
    """What to sort by: the headline's number if it is a share."""
    samples: int | None
    picture: Html | None
    notes: tuple[str, ...] = ()


def headline(
    metric: str, interval: Interval, by: str, *, share: bool = True
) -> tuple[str, str, float | None]:
    """The `headline`, `interval` and `value` of a card; with `share` the metric is in percent."""
    name = metric_title(metric)
    shown = share_of if share else _plain
    if interval.low is None or interval.high is None:
        return f"{name} {shown(interval.value)}", "no interval", interval.value
    drawn = f", by {by}" if by else ""
    ends = f"95 %: {shown(interval.low)} to {shown(interval.high)}{drawn}"
    return f"{name} {shown(interval.value)}", ends, interval.value


def share_of(value: float | None) -> str:
    """A value from 0 to 1 in percent."""
    return "not defined" if value is None else f"{value:.1%}"


def _plain(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"
