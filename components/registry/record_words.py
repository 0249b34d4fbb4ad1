"""An event of the record → the texts that commands and MLflow's page show for it."""

from components.registry.record import BY_HAND, Event

COLUMNS = ("when (UTC)", "who", "what", "champion", "why")


def event_row(event: Event) -> tuple[str, str, str, str, str]:
    """Return the cells of an event in a table with COLUMNS."""
    champion_change = f"{event.from_version or '–'} → {event.to_version or '–'}"
    return (when_text(event), event.who, decision_text(event), champion_change, event.why)


def decision_text(event: Event) -> str:
    """Return what was decided, such as `promote 3 (override)`."""
    # Nobody gave the option --override for a move by hand.
    overrides = event.override and event.kind != BY_HAND
    notes = " (superseded)" * event.superseded + " (override)" * overrides
    return f"{event.kind} {event.version}{notes}"


def when_text(event: Event) -> str:
    """Return the time of an event, such as `2026-11-27 09:30:00`."""
    return event.when.removesuffix("+00:00").replace("T", " ")
