"""Has running servers forget sessions, wherever they keep them: DELETE /events/CUSTOMER."""

import os
from collections.abc import Iterable
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen


def end_sessions(server: str, users: Iterable[str]) -> str:
    """What was done at a server, such as http://localhost:8000, with the key in RECSYS_API_KEY if there is one; OSError
    where it cannot be reached or refuses.
    """
    own = os.environ.get("RECSYS_API_KEY")
    headers = {"X-API-Key": own} if own else {}
    n = 0
    for user in users:
        asked = Request(f"{server.rstrip('/')}/events/{quote(user, safe='')}", method="DELETE", headers=headers)
        try:
            with urlopen(asked, timeout=10):
                n += 1
        except HTTPError as error:
            error.close()
            if error.code in (404, 405):
                return f"{server}: keeps no sessions"
            raise OSError(f"{server} did not forget a session: {error.code} {error.reason}") from error
    return f"{server}: {n:,} sessions forgotten"
