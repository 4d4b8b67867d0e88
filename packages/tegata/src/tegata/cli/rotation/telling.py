"""How results and states are told: a few lines for people, one JSON object for programs. Never a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from tegata.cli.failures import FOUND, OK, UNAVAILABLE, USAGE, WAITING
from tegata.cli.rotation.documents import RotatedSecret
from tegata.cli.rotation.running import Act, Due, Result, State
from tegata_credentials.rotation.driver import LabelStatus, SecretStatus
from tegata_credentials.versions import CURRENT

_EXIT: Mapping[State, int] = {
    "rotated": OK,
    "returned": OK,
    "not_due": OK,
    "waiting": WAITING,
    "failed": UNAVAILABLE,
    "misconfigured": USAGE,
    "needs_a_person": FOUND,
}
_GRAVEST = (FOUND, USAGE, UNAVAILABLE, WAITING, OK)
_DONE: Mapping[Act, str] = {"rotate": "rotated", "rollback": "rolled back"}
_NEXT: Mapping[Act, str] = {
    "rotate": "mend that, then `tegata secrets rotate {name}`.",
    "rollback": "`tegata secrets rotate {name}` makes a new value instead.",
}
_REPEAT: Mapping[Act, str] = {
    "rotate": "run it again; what was begun goes on, nothing is lost.",
    "rollback": "run it again; nothing is lost.",
}
# A worker looks every few minutes; after a day nobody does.
_OVERDUE_SECONDS = 24 * 3600


def exit_code(results: Sequence[Result]) -> int:
    """Return the gravest."""
    return _gravest({_EXIT[result.state] for result in results})


def exit_code_of_standings(standings: Sequence[Standing], now: float) -> int:
    """Return the gravest: whether somebody should look at one, or whether one could not be asked as things are set."""
    codes = {USAGE if each.is_misconfigured else FOUND for each in standings if each.needs_a_look(now)}
    return _gravest(codes)


def _gravest(codes: Set[int]) -> int:
    return next((code for code in _GRAVEST if code in codes), OK)


def lines_of(result: Result) -> Iterator[str]:
    """Tell one result: what has happened, what is still true, what to do next."""
    name, said = result.name, result.reason.rstrip(".")
    match result.state:
        case "rotated":
            yield f"{name}: version {result.version} is current now" + (" (resumed)" if result.resumed else "")
        case "returned":
            yield f"{name}: version {result.version}, which was the previous one, is current again"
        case "not_due":
            yield f"{name}: not due"
        case "waiting":
            yield f"{name}: begun and not finished yet: {said}"
            yield f"  {_still_true(result)}Next: {_again(result)}"
        case "failed":
            yield f"{name}: not {_DONE[result.act]}: {said}"
            yield f"  {_still_true(result)}Next: {result.cure or _REPEAT[result.act]}"
        case "misconfigured":
            yield f"{name}: not {_DONE[result.act]}: {said}"
            if result.still_valid:
                yield f"  {_still_true(result)}".rstrip()
        case "needs_a_person":
            yield f"{name}: not {_DONE[result.act]}, and trying again alone will not help: {said}"
            yield f"  {_still_true(result)}Next: {result.cure or _NEXT[result.act].format(name=name)}"


def _still_true(result: Result) -> str:
    return f"Still true: {result.still_valid}. " if result.still_valid else ""


def _again(result: Result) -> str:
    when = "later" if result.retry_after is None else f"in {result.retry_after:.0f} s"
    return (
        f"`tegata secrets rotate {result.name}` {when}, which goes on with the same version; `tegata worker` does so."
    )


def document_of(result: Result) -> Mapping[str, object]:
    """Return one result for programs."""
    return asdict(result)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one secret stands; without `status` its store could not be asked, and `problem` says why."""

    secret: RotatedSecret
    due: Due | None = None
    status: SecretStatus | None = None
    problem: str = ""
    cure: str = ""
    is_misconfigured: bool = False

    def labels(self, now: float) -> Sequence[LabelStatus]:
        """Return the labels, the current one's age also where the store knows only when the version was made."""
        since = None if self.due is None else self.due.since
        return [
            replace(label, age_seconds=max(0.0, now - since))
            if since is not None and label.age_seconds is None and label.label == CURRENT
            else label
            for label in (() if self.status is None else self.status.labels)
        ]

    def is_overdue(self, now: float) -> bool:
        """Whether it should have been rotated a day ago or more."""
        return self.due is not None and self.due.at is not None and self.due.at + _OVERDUE_SECONDS < now

    def needs_a_look(self, now: float) -> bool:
        """Whether somebody should look: it is overdue, the current value is refused, or nobody knows."""
        refused = any(label.label == CURRENT and label.works is False for label in self.labels(now))
        return bool(self.problem) or refused or self.is_overdue(now)


def lines_of_standing(standing: Standing, now: float) -> Iterator[str]:
    """Tell how a secret stands."""
    secret = standing.secret
    when = f"every {_duration(secret.plan.every)}" if secret.by_age else "by hand"
    yield f"{secret.name}  {secret.reference}  {secret.plan.strategy}, {when}"
    if standing.status is None or standing.due is None:
        yield f"  cannot be told: {standing.problem}"
        if standing.cure:
            yield f"  {standing.cure}"
        return
    for label in standing.labels(now):
        yield f"  {_label(label)}"
    if standing.due.unfinished is not None:
        yield f"  unfinished: `tegata secrets rotate {secret.name}` goes on with version {standing.due.unfinished}"
    if standing.due.at is None:
        reason = "nobody knows its age" if secret.by_age else "TEGATA_ROTATION_DAYS is 0"
        yield f"  never due by itself ({reason}): `tegata secrets rotate {secret.name}` begins"
    else:
        overdue = ", overdue: does `tegata worker` run, and what does its log say?" if standing.is_overdue(now) else ""
        yield f"  next due {_time(standing.due.at)}{overdue}"


def document_of_standing(standing: Standing, now: float) -> Mapping[str, object]:
    """Return how a secret stands, for programs."""
    secret, due = standing.secret, standing.due
    return {
        "name": secret.name,
        "secret": str(secret.reference),
        "strategy": secret.plan.strategy,
        "every_seconds": secret.plan.every.total_seconds() if secret.by_age else None,
        "problem": standing.problem or None,
        "unfinished": due.unfinished if due is not None else None,
        "due_at": None if due is None or due.at is None else _time(due.at).replace(" ", "T"),
        "overdue": standing.is_overdue(now),
        "labels": [asdict(label) for label in standing.labels(now)],
    }


def _label(label: LabelStatus) -> str:
    works = {True: "works", False: "does not work", None: "not tried"}[label.works]
    age = "age unknown" if label.age_seconds is None else f"for {_duration(timedelta(seconds=label.age_seconds))}"
    return f"{label.label:<11} {label.version}  {age}  {works}" + (f": {label.hint}" if label.hint else "")


def _duration(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for unit, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit or (seconds >= unit and seconds % unit == 0):
            return f"{seconds // unit} {word}"
    return f"{seconds} s"


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
