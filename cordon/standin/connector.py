"""A plain JSON API: customers to look up and transfers to order, the connector of the examples."""

from __future__ import annotations

from typing import Any

import orjson

from cordon.standin.script import Plan

Json = dict[str, Any]

CUSTOMERS: dict[str, Json] = {
    "1001": {
        "id": "1001",
        "name": "Jana Novak",
        "email": "jana.novak@example.com",
        "phone": "+49 30 901820",
        "tier": "gold",
    },
    "1002": {
        "id": "1002",
        "name": "Piet de Vries",
        "email": "piet@example.org",
        "phone": "+31 20 624 1111",
        "tier": "basic",
    },
}


def answer(method: str, path: str, body: bytes, asked: Plan) -> tuple[int, Json]:
    """Status and JSON body for a request below `/crm` or `/payments`."""
    if asked.status != 200:
        return asked.status, {"error": f"the stand-in was asked for a {asked.status}"}
    parts = path.strip("/").split("/")
    if parts[:2] == ["crm", "customers"] and method == "GET":
        if len(parts) == 2:
            return 200, {"customers": [{"id": known["id"], "name": known["name"]} for known in CUSTOMERS.values()]}
        customer = CUSTOMERS.get(parts[2])
        return (200, customer) if customer else (404, {"error": "there is no such customer"})
    if parts == ["payments", "transfers"] and method == "POST":
        order = _object(body)
        return 201, {"id": "tr_1", "state": "accepted", "amount": order.get("amount"), "to": order.get("to")}
    return 404, {"error": "there is nothing at this address"}


def _object(body: bytes) -> Json:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
