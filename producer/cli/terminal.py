"""The consoles every command prints to, and how a command ends with an error."""

import sys
from typing import NoReturn

from rich.console import Console

from producer.cli.exit_codes import ExitCode
from producer.client import BrokerUnavailable, Client
from producer.config.broker_url import failure_advice, failure_verb
from producer.config.settings import SettingsError
from producer.console.findings import safe_text
from producer.contract.validation_errors import hide_password

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def open_client() -> Client:
    """Open a client with the settings of the environment; invalid settings end the command."""
    try:
        return Client()
    except (SettingsError, ValueError) as error:
        refuse(str(error))


def warn(sentence: str) -> None:
    """Print a warning."""
    errors.print(f"[yellow]warning[/]: {safe_text(sentence)}")


def refuse(sentence: str) -> NoReturn:
    """End the command because it, or a variable, is wrong: again it would end in the same way."""
    _end(sentence, ExitCode.WRONG_COMMAND)


def give_up(sentence: str) -> NoReturn:
    """End the command because it cannot go on now."""
    _end(sentence, ExitCode.STOPPED)


def unreachable(client: Client, error: Exception) -> NoReturn:
    """End the command because the broker does not answer or refuses."""
    if isinstance(error, BrokerUnavailable):
        give_up(str(error))
    give_up(
        f"the broker at {hide_password(client.broker_url)} {failure_verb(error)} ({error}); "
        f"{failure_advice(error)}"
    )


def _end(sentence: str, code: ExitCode) -> NoReturn:
    errors.print(f"[red]error[/]: {safe_text(sentence)}")
    sys.exit(code)
