"""An answer that says no: a sentence about what is wrong and what to do, in the form of RFC 9457."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(extra="forbid")

    title: str
    status: int
    detail: str
    limit: int | None = None
    """Where something is too large: the most that is taken."""


class Refused(Exception):
    """A request that is refused: status, sentence, and headers that say more."""

    def __init__(
        self, status: int, detail: str, headers: dict[str, str] | None = None, limit: int | None = None
    ) -> None:
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.limit = limit
        super().__init__(detail)

    def response(self) -> JSONResponse:
        """The answer."""
        said = Problem(title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail, limit=self.limit)
        content: dict[str, Any] = said.model_dump(exclude_none=True)
        return JSONResponse(content, self.status, self.headers, MEDIA_TYPE)


def come_back(status: int, detail: str, seconds: int) -> Refused:
    """A refusal for now, with the time after which to try again."""
    return Refused(status, detail, {"Retry-After": str(seconds)})
