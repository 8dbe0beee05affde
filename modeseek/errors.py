"""The few exceptions a user meets. Each message says what must hold and what came."""

from __future__ import annotations


class ModeseekError(Exception):
    """Base of all errors that modeseek raises on purpose."""


class UsageError(ModeseekError, ValueError):
    """An argument or a configuration is wrong. The command line exits with 2."""


class PriorError(ModeseekError):
    """A pretrained model cannot be opened or is of a kind that modeseek does not know."""


class RunError(ModeseekError):
    """A run directory cannot be created, read, written or continued."""


class NonFiniteError(ModeseekError, FloatingPointError):
    """A gradient or a sample is not finite; says where."""


class UnstableError(ModeseekError, ArithmeticError):
    """An integration is known to diverge at the given step sizes; says which condition is broken."""


class ModeseekWarning(UserWarning):
    """Something that the user will want to know and that stops nothing."""
