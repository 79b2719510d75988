"""The actions of V-COCO with their roles, and which score column belongs to which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

Actions = Sequence[tuple[str, Sequence[str]]]

VCOCO_ACTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("hold", ("obj",)),
    ("stand", ()),
    ("sit", ("instr",)),
    ("ride", ("instr",)),
    ("walk", ()),
    ("look", ("obj",)),
    ("hit", ("instr", "obj")),
    ("eat", ("obj", "instr")),
    ("jump", ("instr",)),
    ("lay", ("instr",)),
    ("talk_on_phone", ("instr",)),
    ("carry", ("obj",)),
    ("throw", ("obj",)),
    ("catch", ("obj",)),
    ("cut", ("instr", "obj")),
    ("run", ()),
    ("work_on_computer", ("instr",)),
    ("ski", ("instr",)),
    ("surf", ("instr",)),
    ("skateboard", ("instr",)),
    ("smile", ()),
    ("drink", ("instr",)),
    ("kick", ("obj",)),
    ("point", ("instr",)),
    ("read", ("obj",)),
    ("snowboard", ("instr",)),
)
"""Actions and their roles besides the agent, in the order of the V-COCO files (vcoco_test.json)."""


def verb_names(actions: Actions) -> tuple[str, ...]:
    """One name per role, `<action>_<role>`, or the action itself where it has none.

    >>> verb_names([("stand", ()), ("eat", ("obj", "instr"))])
    ('stand', 'eat_obj', 'eat_instr')
    """
    return tuple(f"{name}_{role}" if role else name for name, roles in actions for role in (roles or ("",)))


VCOCO_VERBS = verb_names(VCOCO_ACTIONS)
"""The 29 score columns of the official model, in its order."""

# 1 to 90 without the ten numbers that COCO annotated nothing with
CATEGORY_IDS = tuple(sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}))
"""COCO category of the object labels 0 to 79; label 80 is "missing objects"."""


@dataclass(frozen=True)
class VerbTable:
    """The score columns ("verbs") of every action and role; made by `create`.

    Letters in shapes: a actions, v verbs, s (action, role) slots in order of actions, then roles.

    Attributes:
        actions: names of the actions.
        verbs: names of the score columns.
        slots: names of the slots, `<action>_<role>`.
        slot_actions: action of each slot.
        slot_roles: role of each slot, counted within the action.
        slot_verbs: column of each slot.
        agent_verbs: columns of each action, the first one repeated where it has fewer roles than others.
        action_of_verb: action of each column.
    """

    actions: tuple[str, ...]
    verbs: tuple[str, ...]
    slots: tuple[str, ...]
    slot_actions: Int[np.ndarray, " s"]
    slot_roles: Int[np.ndarray, " s"]
    slot_verbs: Int[np.ndarray, " s"]
    agent_verbs: Int[np.ndarray, "a w"]
    action_of_verb: Int[np.ndarray, " v"]

    @classmethod
    def create(cls, actions: Actions = VCOCO_ACTIONS, verbs: Sequence[str] | None = None) -> "VerbTable":
        """The table of some actions.

        Args:
            actions: (action, roles besides the agent) in the order of the ground truth.
            verbs: names of the score columns in their order, see `verb_names`; by default the order of `actions`.

        Raises:
            ValueError: an action twice, or verbs that are not those of the actions.
        """
        names = verb_names(actions)
        verbs = names if verbs is None else tuple(verbs)
        if not names or len(set(names)) != len(names) or len({name for name, _ in actions}) != len(actions):
            raise ValueError("actions: expected each (action, role) once, and at least one")
        if sorted(verbs) != sorted(names):
            odd = sorted(set(verbs) ^ set(names)) or sorted({name for name in verbs if verbs.count(name) > 1})
            raise ValueError(
                f"verbs: expected one column for each of {list(names)}; missing, unknown or doubled: {odd}"
            )
        columns = {name: verbs.index(name) for name in names}
        slots = [
            (action, role, f"{name}_{label}")
            for action, (name, roles) in enumerate(actions)
            for role, label in enumerate(roles)
        ]
        agents = [[columns[verb] for verb in verb_names([action])] for action in actions]
        width = max(map(len, agents))
        action_of_verb = np.zeros(len(verbs), np.int64)
        for action, own in enumerate(agents):
            action_of_verb[own] = action
        return cls(
            actions=tuple(name for name, _ in actions),
            verbs=verbs,
            slots=tuple(name for *_, name in slots),
            slot_actions=np.array([action for action, *_ in slots], np.int64),
            slot_roles=np.array([role for _, role, _ in slots], np.int64),
            slot_verbs=np.array([columns[name] for *_, name in slots], np.int64),
            agent_verbs=np.array([own + own[:1] * (width - len(own)) for own in agents], np.int64),
            action_of_verb=action_of_verb,
        )

    @property
    def published(self) -> Bool[np.ndarray, " s"]:
        """Slots of the published means: all but those of "point", which has too few instances."""
        return np.array([self.actions[action] != "point" for action in self.slot_actions], bool)

    @property
    def thesis(self) -> Bool[np.ndarray, " v"]:
        """Columns of `mAP_thesis` of the official training log: those of the published slots."""
        chosen = np.zeros(len(self.verbs), bool)
        chosen[self.slot_verbs[self.published]] = True
        return chosen
