"""What every section of a recipe is built from: the strict, frozen base class and the number types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from rl2f_hub.kinds import is_known, refusal_of

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def _number_text(value: Any) -> Any:
    """YAML 1.1 reads `3e-3` as text: accept it as the number that it is."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Rate = Annotated[float, BeforeValidator(_number_text), Field(gt=0)]


class _KindName:
    def __init__(self, table: Mapping[str, Any], own: bool) -> None:
        self.table, self.own = table, own

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"enum": [*self.table, *(["python:<file>:<name>"] if self.own else [])]}

    def _checked(self, name: str) -> str:
        if name in self.table or (self.own and is_known(self.table, name)):
            return name
        raise ValueError(refusal_of(self.table, name, self.own))


def kind_name(table: Mapping[str, Any], own: bool = True) -> Any:
    """Checks that a text is a name in a table of `kinds`; with `own` also the path of a part of a user's own."""
    return _KindName(table, own)


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
