"""Keeps a run from ending itself: the key it asks with and the tenant it acts on are not for changing."""

import os

import schemathesis

NOBODY = "00000000-0000-4000-8000-000000000000"
PROTECTED = set(os.environ.get("TOLLGATE_PROTECTED", "").split(","))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Sends a change of what is protected to something that is not there."""
    if case.method.upper() != "GET" and (case.path_parameters or {}).get("id") in PROTECTED:
        case.path_parameters["id"] = NOBODY
