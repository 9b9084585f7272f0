"""One GET, and what its answer means: a page, something to try again, or a refusal with the next step."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from trimtab.data.sources import Answer, Refused, TryAgain
from trimtab.exchanges import date_of, is_safe_address, pause_asked
from trimtab.types import SECOND

_PATIENCE: Final = (5.0, 30.0)  # seconds to connect, and between two parts of an answer


def get(session: Any, url: str, params: Mapping[str, str], source: str, refused: Mapping[int, str]) -> Answer:
    """The body of an answer with status 200.

    session  of requests; its headers may hold keys, so no redirection is followed
    refused  status -> what to do; others of 4xx are told with the source's own words
    """
    import requests

    if not is_safe_address(url):
        raise Refused(f"{source} would go to {url}, which is not encrypted: expected https")
    try:
        response = session.get(url, params=dict(params), timeout=_PATIENCE, allow_redirects=False)
    except requests.RequestException as error:
        raise TryAgain(f"{source} gave no answer ({type(error).__name__})") from None
    judge(source, response.status_code, response.headers, response.text, refused)
    told = date_of(response.headers.get("date", ""))
    # The instant before the question: what had not closed then may still be open in the answer.
    return Answer(response.content, told and told - int(response.elapsed.total_seconds() * SECOND))


def judge(source: str, status: int, headers: Mapping[str, str], body: str, refused: Mapping[int, str]) -> None:
    """Raise TryAgain or Refused for any status but 200."""
    if status == 200:
        return
    if status in (408, 418, 425, 429) or status >= 500:
        busy = "asks for fewer requests" if status in (418, 429) else "has a fault"
        raise TryAgain(f"{source} {busy} (HTTP {status})", pause_asked(headers))
    if status in refused:
        raise Refused(refused[status])
    if status in (403, 451):
        raise Refused(blocked(source, status))
    raise Refused(f"{source} refused the request (HTTP {status}): {_said(body)}")


def blocked(source: str, status: int) -> str:
    """What to do where a source does not serve the place that the request comes from."""
    return (
        f"{source} does not serve this place or this address (HTTP {status}): take another source, such as "
        f"{', '.join(name for name in ('kraken', 'bybit', 'binance') if name != source)} for crypto or yfinance for "
        "equities; nothing was stored"
    )


def _said(body: str) -> str:
    """A refusal in the source's own words, on one line."""
    with contextlib.suppress(ValueError, LookupError, TypeError):
        told: Any = json.loads(body)
        body = str(told["message"])
    return " ".join(body.split())[:200] or "without a word"
