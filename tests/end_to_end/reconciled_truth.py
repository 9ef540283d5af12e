"""What the comparison of bill and traces must come to, straight from what the simulated organization did."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator.line_items import lines
from exporter.simulator.measures import openai_fields
from exporter.simulator.organization import Organization
from exporter.simulator.server import Simulator
from exporter.simulator.traffic import Call

DAY = 86_400
TRACED_APIS = {"usage/completions", "usage/decisions", "usage/embeddings"}
TOKEN_APIS = {*TRACED_APIS, "usage/moderations"}
# A web search is told apart, but was already counted as the request that asked for it.
REQUEST_APIS = {*TOKEN_APIS, "usage/images", "usage/audio_speeches", "usage/audio_transcriptions"}

OLD_PRICE_MODEL = "gpt-5.6-terra"
OLD_PRICE = Decimal("1.4")
MEASURES = ("usd", "tokens", "requests")

# Bill, usage and traces do not spell these alike. What they have in common once date and owner are left out.
FAMILIES = {
    "gpt-image-1-2025-04-23": "gpt-image-1",
    "gpt-image-2-2026-04-21": "gpt-image-2",
    "ft:gpt-4o-2024-08-06:acme::b4x7q2": "ft-gpt-4o-2024-08-06",
}


class Owner(NamedTuple):
    """Whose something is; the model as the comparison calls it."""

    project_id: str
    workflow: str
    model: str


@dataclass(slots=True)
class Sides:
    """Both sides of one owner, by measure."""

    billed: dict[str, Decimal]
    traced: dict[str, Decimal]


Book = Mapping[Owner, Sides]


def what_happened(simulator: Simulator, days: Iterable[int], *, told_by: Callable[[int], float]) -> Book:
    """Add up the days: traces as the calls were made, bill and usage as the API told by the moment given for each."""
    book: dict[Owner, Sides] = defaultdict(
        lambda: Sides(dict.fromkeys(MEASURES, Decimal(0)), dict.fromkeys(MEASURES, Decimal(0)))
    )
    workflow_of = _workflows(simulator.organization)
    for day in days:
        for api, rows in simulator.truth(
            day, day + DAY, as_of=told_by(day), apis=["costs", *sorted(REQUEST_APIS)]
        ).items():
            for row in rows:
                spelled = _billed_model(row["line_item"]) if api == "costs" else row["model"]
                workflow = workflow_of(row["project_id"], row["api_key_id"])
                side = book[_owner(row["project_id"], workflow, spelled)].billed
                if api == "costs":
                    side["usd"] += row["amount"]
                else:
                    side["requests"] += row["num_model_requests"]
                if api in TOKEN_APIS:
                    side["tokens"] += row["input_tokens"] + row.get("output_tokens", 0)
        # The calls themselves: the simulator's trace counters are one of the sides to be judged.
        for call in simulator._traffic.day(day).calls:
            stream = call.stream
            if call.is_traced and stream.workflow.traced and stream.api in TRACED_APIS:
                _trace(call, book[_owner(stream.project_id, stream.workflow.workflow, stream.use.model)].traced)
    return dict(book)


def _owner(project_id: str | None, workflow: str, spelled_model: str) -> Owner:
    return Owner(project_id or "", workflow, FAMILIES.get(spelled_model, spelled_model))


def _trace(call: Call, side: dict[str, Decimal]) -> None:
    use = call.stream.use
    counted = openai_fields(use.api, call.measures)
    side["tokens"] += counted["input_tokens"] + counted.get("output_tokens", 0)
    side["requests"] += counted["num_model_requests"]
    by_contract = sum((line.quantity * line.unit_price for line in lines(use, call.measures)), Decimal(0))
    side["usd"] += by_contract * (OLD_PRICE if use.model == OLD_PRICE_MODEL else 1)


def _billed_model(line_item: str) -> str:
    """Return the model of `[<prefix> | ]<model>[ <modality>], <direction>`; empty for lines that name none."""
    name, comma, _ = line_item.partition(",")
    return name.rpartition(" | ")[2].partition(" ")[0] if comma else ""


def _workflows(organization: Organization) -> Callable[[str | None, str | None], str]:
    """Return what tells a row's workflow: by key, without one by project where all of it is one workflow's."""
    by_key: dict[object, str] = {}
    by_project: dict[object, set[str]] = defaultdict(set)
    for stream in organization.streams:
        names = ENDPOINTS[stream.api].dimensions
        if "api_key_id" in names:
            by_key[stream.dimensions[names.index("api_key_id")]] = stream.workflow.workflow
        by_project[stream.project_id].add(stream.workflow.workflow)

    def workflow_of(project_id: str | None, api_key_id: str | None) -> str:
        if api_key_id is not None:
            return by_key[api_key_id]
        workflows = by_project[project_id]
        return next(iter(workflows)) if len(workflows) == 1 else "unmapped"

    return workflow_of


class Figure(NamedTuple):
    """One figure of the comparison.

    Attributes:
        name: as it is recorded, without what it is cut by: `coverage:ratio`.
        whose: the model, workflow or project; empty for the total.
        which: the measure, the part or the method; empty where there is just one.
    """

    name: str
    whose: str
    which: str


def comparison(book: Book, whose: Callable[[Owner], str]) -> dict[Figure, Decimal]:
    """Work out every figure for each whom `whose` names, model by model, as the formulas are written down."""
    figures: dict[Figure, Decimal] = {}
    for name in {whose(owner) for owner in book}:
        of_name = {owner: sides for owner, sides in book.items() if whose(owner) == name}
        billed, traced = _sums(of_name.values())
        for measure in MEASURES:
            if billed[measure] > 0:
                figures[Figure("coverage:ratio", name, measure)] = traced[measure] / billed[measure]
        partly = never = at_billed_price = Decimal(0)
        for model in {owner.model for owner in of_name}:
            used, told = _sums(sides for owner, sides in of_name.items() if owner.model == model)
            if any(told.values()):
                partly += max(used["usd"] - told["usd"], Decimal(0))
            else:
                never += used["usd"]
            has_price = used["tokens"] and told["tokens"]
            at_billed_price += told["tokens"] * used["usd"] / used["tokens"] if has_price else told["usd"]
        if at_billed_price > 0 and billed["usd"] > 0:
            figures[Figure("price_drift:ratio", name, "")] = traced["usd"] / at_billed_price - 1
        figures |= {
            Figure("billed_usd:sum", name, ""): billed["usd"],
            Figure("traced_usd:sum", name, ""): traced["usd"],
            Figure("untraced_usd:sum", name, "partly"): partly,
            Figure("untraced_usd:sum", name, "never"): never,
            Figure("gap_usd:sum", name, "volume"): billed["usd"] - at_billed_price,
            Figure("gap_usd:sum", name, "price"): at_billed_price - traced["usd"],
        }
    return figures


def _sums(book: Iterable[Sides]) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    sides = list(book)
    return (
        {measure: sum((each.billed[measure] for each in sides), Decimal(0)) for measure in MEASURES},
        {measure: sum((each.traced[measure] for each in sides), Decimal(0)) for measure in MEASURES},
    )
