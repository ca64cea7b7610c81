"""Makes running servers delete sessions, wherever they store them: DELETE /events/CUSTOMER."""

import os
from collections.abc import Iterable
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen


def end_sessions(server: str, users: Iterable[str]) -> str:
    """Returns a line about the sessions deleted at a server such as http://localhost:8000, using the key in
    RECSYS_API_KEY if there is one.

    Raises OSError if the server cannot be reached or refuses.
    """
    api_key = os.environ.get("RECSYS_API_KEY")
    headers = {"X-API-Key": api_key} if api_key else {}
    n = 0
    for user in users:
        request = Request(f"{server.rstrip('/')}/events/{quote(user, safe='')}", method="DELETE", headers=headers)
        try:
            with urlopen(request, timeout=10):
                n += 1
        except HTTPError as error:
            error.close()
            if error.code in (404, 405):
                return f"{server}: keeps no sessions"
            raise OSError(f"{server} did not delete a session: {error.code} {error.reason}") from error
    return f"{server}: {n:,} sessions deleted"
