"""The graph: a model that pays bills, one tool call after another.

    plan -> think -> pay -> book -> think ... -> report

The model is a fake one: it says what the conversation so far asks for, so that two runs
can be compared. What it pays is an effect of the agent: the ledger has it before the bank
is called, and a successor that finds it open asks the bank.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypedDict

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.store.base import BaseStore

import raftstate
from raftstate.examples.takeover.bank import Bank

VENDORS: Final = ("aurora", "borealis", "corona")


def bills(count: int) -> list[dict[str, Any]]:
    """What there is to pay."""
    return [
        {
            "bill": f"bill-{number}",
            "vendor": VENDORS[number % len(VENDORS)],
            "cents": 100 + 37 * number,
        }
        for number in range(1, count + 1)
    ]


def request(count: int) -> dict[str, Any]:
    """What the graph is given."""
    text = json.dumps(bills(count))
    return {"messages": [HumanMessage(text, id="request")]}


class State(TypedDict, total=False):
    """What the graph knows."""

    messages: Annotated[list[AnyMessage], add_messages]
    planned: list[dict[str, Any]]
    paid: Annotated[list[dict[str, Any]], operator.add]
    report: str


class FakeModel(BaseChatModel):
    """Asks for one payment after another, and then says that all is done."""

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        wanted = json.loads(str(messages[0].content))
        done = sum(isinstance(message, ToolMessage) for message in messages)
        answer = AIMessage(f"All {done} bills are paid.", id=f"answer-{done + 1}")
        if done < len(wanted):
            call = {"name": "pay", "args": wanted[done], "id": f"call-{done + 1}"}
            answer = AIMessage("", tool_calls=[call], id=f"answer-{done + 1}")
        return ChatResult(generations=[ChatGeneration(message=answer)])


def build(agent: raftstate.AgentHandle, bank: Bank) -> StateGraph[State]:
    """The graph, for the owner of an agent."""
    model = FakeModel()

    def find_out(call: raftstate.EffectCall) -> str:
        reference = bank.find(call.key)
        if reference is None:
            raise raftstate.NotDone(f"the bank knows nothing of {call.key}")
        return reference

    def refund(call: raftstate.UndoCall) -> None:
        raise raftstate.FailedForGood("this bank gives nothing back")

    raftstate.reconciler("ask-bank")(find_out)
    raftstate.compensation("refund")(refund)

    def transfer(call: raftstate.EffectCall) -> str:
        return bank.pay(call.key, call.args["bill"], call.args["cents"])

    def plan(state: State) -> State:
        return {"planned": json.loads(str(state["messages"][0].content))}

    async def think(state: State) -> State:
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def pay(state: State) -> State:
        call = _calls(state["messages"])[0]
        reference = await agent.effect(
            "pay",
            {"bill": call["args"]["bill"], "cents": call["args"]["cents"]},
            effect_id=f"pay/{call['id']}",
            do=transfer,
            undo="refund",
            kind="reconcilable",
            reconcile="ask-bank",
        )
        answer = ToolMessage(reference, tool_call_id=call["id"], id=f"result-{call['id']}")
        return {
            "messages": [answer],
            "paid": [{**call["args"], "reference": reference}],
        }

    async def book(state: State, *, store: BaseStore) -> State:
        """Remember what each vendor got: long-term memory, beyond this thread. Done twice
        it comes to the same."""
        vendor = state["paid"][-1]["vendor"]
        cents = sum(one["cents"] for one in state["paid"] if one["vendor"] == vendor)
        await store.aput(("vendors",), vendor, {"cents": cents})
        return {}

    def report(state: State) -> State:
        cents = sum(one["cents"] for one in state["paid"])
        return {"report": f"{len(state['paid'])} bills, {cents} cents"}

    graph = StateGraph(State)
    for name, node in (("plan", plan), ("think", think), ("pay", pay), ("book", book)):
        graph.add_node(name, node)
    graph.add_node("report", report)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "think")
    graph.add_conditional_edges(
        "think", lambda state: "pay" if _calls(state["messages"]) else "report"
    )
    graph.add_edge("pay", "book")
    graph.add_edge("book", "think")
    graph.add_edge("report", END)
    return graph


def _calls(messages: Sequence[AnyMessage]) -> list[Any]:
    last = messages[-1]
    return list(last.tool_calls) if isinstance(last, AIMessage) else []


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """A state in JSON: all of it, so that two can be compared."""
    messages = [message.model_dump(mode="json") for message in values.get("messages", [])]
    return json.loads(json.dumps({**values, "messages": messages}))  # type: ignore[no-any-return]
