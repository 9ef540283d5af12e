"""Which labels a PromQL expression can have, worked out from those of its metrics; and what does not fit."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import promql_parser as promql

from tests.deploy.rule_files import Rule

Labels = frozenset[str]

_NONE: Final[Labels] = frozenset()
_SET_OPERATORS: Final = frozenset({"and", "or", "unless"})
_KEEP_ALL_LABELS: Final = frozenset({"topk", "bottomk"})


def labels_of_rules(rules: Iterable[Rule], known: Mapping[str, Labels]) -> tuple[dict[str, Labels], list[str]]:
    """Return the labels of every recorded series, and one line for each metric or label that does not exist.

    Args:
        rules: may record under names that others, before or after them, or they themselves, read.
        known: the labels of what is not recorded here.
    """
    every = tuple(rules)
    recorded: dict[str, Labels] = {rule.name: _NONE for rule in every if not rule.is_alert}
    while True:
        before = dict(recorded)
        for rule in every:
            if not rule.is_alert:
                found = _Inference({**known, **recorded}).labels(promql.parse(rule.expression))
                recorded[rule.name] |= found | rule.labels.keys()
        if recorded == before:
            break
    problems = []
    for rule in every:
        inference = _Inference({**known, **recorded})
        inference.labels(promql.parse(rule.expression))
        problems += [f"{rule.file.name}: {rule.name}: {problem}" for problem in inference.problems]
    return recorded, problems


def labels_of(expression: str, known: Mapping[str, Labels]) -> Labels:
    """Return the labels of an expression."""
    return _Inference(known).labels(promql.parse(expression))


class _Inference:
    """Walks an expression from its metrics upwards. Collects what does not exist in `problems`."""

    def __init__(self, known: Mapping[str, Labels]) -> None:
        self.problems: list[str] = []
        self._known = known

    def labels(self, expression: promql.Expr) -> Labels:
        labels = _NONE
        match expression:
            case promql.VectorSelector():
                labels = self._selected(expression)
            case promql.MatrixSelector():
                labels = self._selected(expression.vector_selector)
            case promql.SubqueryExpr() | promql.ParenExpr() | promql.UnaryExpr():
                labels = self.labels(expression.expr)
            case promql.AggregateExpr():
                labels = self._aggregated(expression)
            case promql.BinaryExpr():
                labels = self._combined(expression)
            case promql.Call():
                labels = self._called(expression)
        return labels

    def _check(self, wanted: Iterable[str], there: Labels, what: str) -> None:
        self.problems += [f"{what} has no label {name!r}" for name in wanted if name not in there]

    def _selected(self, selector: promql.VectorSelector) -> Labels:
        name = selector.name or ""
        if name not in self._known:
            self.problems.append(f"there is no metric {name!r}")
            return _NONE
        labels = self._known[name]
        self._check((matcher.name for matcher in selector.matchers.matchers), labels, name)
        return labels

    def _aggregated(self, aggregate: promql.AggregateExpr) -> Labels:
        inner = self.labels(aggregate.expr)
        operator = str(aggregate.op)
        named = _NONE if aggregate.modifier is None else frozenset(aggregate.modifier.labels)
        without = aggregate.modifier is not None and aggregate.modifier.type == promql.AggModifierType.Without
        self._check(sorted(named), inner, f"what is under {operator}")
        if operator in _KEEP_ALL_LABELS:
            return inner
        result = inner - named if without else named
        return result | {aggregate.param.val} if operator == "count_values" and aggregate.param is not None else result

    def _combined(self, binary: promql.BinaryExpr) -> Labels:
        left, right = self.labels(binary.lhs), self.labels(binary.rhs)
        if _is_scalar(binary.lhs) or _is_scalar(binary.rhs):
            return left | right
        operator = str(binary.op)
        matching: Any = None if binary.modifier is None else binary.modifier.matching
        named = _NONE if matching is None else frozenset(matching.labels)
        self._check(sorted(named), left, f"the left of {operator}")
        self._check(sorted(named), right, f"the right of {operator}")
        matched_by_name = matching is not None and matching.type == promql.LabelModifierType.Include
        if operator == "or":
            return left | right
        if not matched_by_name and left - named != right - named:
            self.problems.append(
                f"{operator} matches on all labels, but only one side has {', '.join(sorted(left ^ right))}"
            )
        if operator in _SET_OPERATORS:
            return left
        return self._matched(binary.modifier, left, right, named if matched_by_name else left - named)

    def _matched(self, modifier: promql.BinModifier | None, left: Labels, right: Labels, one_to_one: Labels) -> Labels:
        if modifier is None or modifier.card == promql.VectorMatchCardinality.OneToOne:
            return one_to_one
        many, one = (left, right) if modifier.card == promql.VectorMatchCardinality.ManyToOne else (right, left)
        carried = modifier.group_labels or []
        self._check(carried, one, "the one side")
        return many | frozenset(carried)

    def _called(self, call: promql.Call) -> Labels:
        vectors = [self.labels(argument) for argument in call.args]
        if call.func.return_type == promql.ValueType.Scalar:
            return _NONE
        labels = frozenset().union(*vectors)
        if call.func.name == "label_replace":
            _, target, replacement, source, _ = call.args
            if source.val:
                self._check((source.val,), labels, "what is under label_replace")
            return labels | {target.val} if replacement.val else labels - {target.val}
        return labels


def _is_scalar(expression: promql.Expr) -> bool:
    match expression:
        case promql.NumberLiteral():
            return True
        case promql.ParenExpr() | promql.UnaryExpr():
            return _is_scalar(expression.expr)
        case promql.BinaryExpr():
            return _is_scalar(expression.lhs) and _is_scalar(expression.rhs)
        case promql.Call():
            return bool(expression.func.return_type == promql.ValueType.Scalar)
    return False
