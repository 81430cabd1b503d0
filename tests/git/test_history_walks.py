from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexus.git.history import Node, ahead_behind, only_left


@st.composite
def graphs(draw: st.DrawFn, *, skewed: bool = False) -> dict[bytes, Node]:
    """A history: each commit has up to two older parents; times never go backwards unless clocks are wrong."""
    size = draw(st.integers(1, 25))
    graph: dict[bytes, Node] = {}
    time = 0
    for number in range(size):
        parents = draw(st.lists(st.integers(0, number - 1), max_size=2, unique=True)) if number else []
        time = draw(st.integers(0, 30)) if skewed else time + draw(st.integers(0, 1))
        graph[b"%d" % number] = Node(time, tuple(b"%d" % parent for parent in parents))
    return graph


def reach(graph: dict[bytes, Node], tips: list[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    waiting = list(tips)
    while waiting:
        sha = waiting.pop()
        if sha not in found:
            found.add(sha)
            waiting.extend(graph[sha].parents)
    return found


@given(graphs(), st.data())
def test_what_only_one_side_has_is_exact_when_clocks_are_right(graph: dict[bytes, Node], data: st.DataObject) -> None:
    tips = st.lists(st.sampled_from(sorted(graph)), max_size=4)
    left, right = data.draw(tips), data.draw(tips)
    assert set(only_left(graph.__getitem__, left, right)) == reach(graph, left) - reach(graph, right)


@given(graphs(), st.data())
def test_ahead_and_behind_are_exact_when_clocks_are_right(graph: dict[bytes, Node], data: st.DataObject) -> None:
    ours, theirs = data.draw(st.sampled_from(sorted(graph))), data.draw(st.sampled_from(sorted(graph)))
    mine, other = reach(graph, [ours]), reach(graph, [theirs])
    assert ahead_behind(graph.__getitem__, ours, theirs) == (len(mine - other), len(other - mine))


@given(graphs(skewed=True), st.data())
def test_wrong_clocks_never_hide_a_commit(graph: dict[bytes, Node], data: st.DataObject) -> None:
    tips = st.lists(st.sampled_from(sorted(graph)), max_size=4)
    left, right = data.draw(tips), data.draw(tips)
    assert set(only_left(graph.__getitem__, left, right)) >= reach(graph, left) - reach(graph, right)
