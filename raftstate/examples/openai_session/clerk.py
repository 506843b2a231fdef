"""The clerk: an agent of the OpenAI Agents SDK, with a fake model, and a tool that pays.

The model looks at the conversation only, so that two runs can be compared. What the tool
pays is an effect of the owned agent: the ledger has it before the bank is called, and a
successor that finds it open asks the bank.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

from agents import Agent, Model, ModelResponse, Tool, Usage, function_tool
from agents.items import TResponseInputItem, TResponseStreamEvent
from agents.testing import assistant_message, function_call

import raftstate
from raftstate.examples.takeover.bank import Bank

_CENTS: Final = 700


def question(number: int) -> str:
    """What the user asks for, in its turn."""
    return f"please pay bill-{number}"


def answered(items: list[TResponseInputItem]) -> int:
    """How many questions have been answered, to the end."""
    return sum(map(is_answer, items))


def is_answer(item: TResponseInputItem) -> bool:
    """Whether an item ends a turn."""
    return item.get("role") == "assistant"


class FakeModel(Model):
    """Calls the tool for a question, and says what came of it."""

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002  # the SDK's name
        *others: Any,
        **named: Any,
    ) -> ModelResponse:
        """The next item of the conversation."""
        assert isinstance(input, list)
        number = answered(input)
        last: Any = input[-1]
        if last.get("type") == "function_call_output":
            text = f"bill-{number} is paid: {last['output']}; that makes {number + 1}"
            said = assistant_message(text, item_id=f"message-{number}")
        else:
            bill = last["content"].split()[-1]
            arguments = {"bill": bill, "cents": _CENTS + number}
            said = function_call("pay", arguments, call_id=f"call-{number}")
        return ModelResponse(output=[said], usage=Usage(), response_id=None)

    def stream_response(self, *given: Any, **named: Any) -> AsyncIterator[TResponseStreamEvent]:
        """Nothing here is streamed. Raises NotImplementedError."""
        raise NotImplementedError("this model answers whole")


def clerk(agent: raftstate.AgentHandle, bank: Bank) -> Agent[None]:
    """The clerk, for the owner of an agent."""

    def transfer(call: raftstate.EffectCall) -> str:
        return bank.pay(call.key, call.args["bill"], call.args["cents"])

    def find_out(call: raftstate.EffectCall) -> str:
        reference = bank.find(call.key)
        if reference is None:
            raise raftstate.NotDone(f"the bank knows nothing of {call.key}")
        return reference

    def refund(call: raftstate.UndoCall) -> None:
        raise raftstate.FailedForGood("this bank gives nothing back")

    raftstate.reconciler("ask-the-bank")(find_out)
    raftstate.compensation("take-back")(refund)

    async def pay(bill: str, cents: int) -> str:
        """Pay a bill."""
        reference: str = await agent.effect(
            "pay",
            {"bill": bill, "cents": cents},
            effect_id=f"pay/{bill}",
            do=transfer,
            undo="take-back",
            kind="reconcilable",
            reconcile="ask-the-bank",
        )
        return reference

    tools: list[Tool] = [function_tool(pay)]
    return Agent(name="clerk", model=FakeModel(), tools=tools)


def plain(items: list[TResponseInputItem]) -> list[Any]:
    """Items as JSON has them."""
    return list(json.loads(json.dumps(items)))
