"""What an operator configures of the audit log."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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
    policy_inputs: bool = Field(True, description="keep masked policy inputs, encrypted, for replay")
    policy_inputs_days: float = Field(30.0, gt=0, description="how long policy inputs are kept")
