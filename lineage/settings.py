"""What an operator configures of the audit log."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Base of every configured section: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lineage(Settings):
    """The log's name, its pace and what is kept beside it."""

    origin: str = Field(
        "",
        max_length=128,
        pattern=r"^[^\s+]*$",
        description="name of the log in its checkpoints; empty: one is made at first start and kept",
    )
    checkpoint_seconds: float = Field(1.0, gt=0, le=60, description="a new checkpoint at least this often")
    batch: int = Field(2_048, ge=1, le=65_536, description="most records in one commit")
    queue: int = Field(65_536, ge=1, description="most records that wait for the disk; over it calls are refused")
    records_days: float | None = Field(
        None, gt=0, description="how long records are kept (empty: for ever); their hashes stay, so the log verifies"
    )
    policy_inputs: bool = Field(True, description="keep masked policy inputs, encrypted, for replay")
    policy_inputs_days: float = Field(30.0, gt=0, description="how long policy inputs are kept")

    @model_validator(mode="after")
    def _inputs_end_first(self) -> Self:
        """Inputs of a tenant that is erased are found by the records that name them."""
        if self.policy_inputs and self.records_days is not None and self.records_days < self.policy_inputs_days:
            raise ValueError(
                "records_days is less than policy_inputs_days; keep records at least as long as the inputs"
            )
        return self
