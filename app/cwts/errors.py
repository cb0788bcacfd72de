"""The errors that a person sees. Each is one clear line and knows the exit code it ends the command with."""

from __future__ import annotations


class CwtsError(Exception):
    """Something failed that the input is not to blame for: exit code 1."""

    exit_code = 1


class InputError(CwtsError):
    """What was asked for or given cannot be used: exit code 2."""

    exit_code = 2
