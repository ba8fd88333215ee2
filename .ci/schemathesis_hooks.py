"""Gives schemathesis something to book: ids that exist, which it would never guess."""

import json
import random
import threading
import urllib.request
import uuid

import schemathesis
from schemathesis import GenerationMode

_world = None
# The workers are threads.
_creating = threading.Lock()


def _call(base, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(base + path, data, headers)
    return json.load(urllib.request.urlopen(request))


def _create(base):
    users = [
        _call(base, "/api/users", {"email": f"{uuid.uuid4()}@example.com", "name": "World"})["user_id"]
        for _ in range(3)
    ]
    event = _call(
        base,
        "/api/events",
        {
            "name": "World",
            "artist": "World",
            "venue": "World",
            "date": "2027-07-01T20:00:00Z",
            "total_seats": 1000,
            "price": 19.99,
        },
    )["event_id"]
    tickets = [ticket["id"] for ticket in _call(base, f"/api/events/{event}/tickets")]
    held = [
        _call(
            base,
            "/api/bookings",
            {"user_id": users[0], "event_id": event, "ticket_ids": [ticket]},
        )["booking_id"]
        for ticket in tickets[:200]
    ]
    return {"users": users, "events": [event], "tickets": tickets, "bookings": held}


@schemathesis.hook
def map_case(context, case):
    """In half of the cases that fit the document, names things that exist."""
    global _world
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return case
    with _creating:
        if _world is None:
            _world = _create(case.operation.base_url.rstrip("/"))
    if random.random() < 0.5:
        return case
    kind = case.path.split("/")[2] if case.path.startswith("/api/") else None
    if kind in _world and "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = random.choice(_world[kind])
    if isinstance(case.body, dict):
        if "user_id" in case.body:
            case.body["user_id"] = random.choice(_world["users"])
        if "event_id" in case.body:
            case.body["event_id"] = _world["events"][0]
        if "ticket_ids" in case.body:
            case.body["ticket_ids"] = random.sample(_world["tickets"], random.randint(1, 3))
    return case
