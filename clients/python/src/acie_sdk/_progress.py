"""Progress of many questions."""

__all__ = ["Progress", "reporting"]

import contextlib
import importlib.util
from collections.abc import Callable, Iterator

#: False for none, True for a bar, or a function of the number done and the number of all.
Progress = bool | Callable[[int, int], None]


@contextlib.contextmanager
def reporting(progress: Progress, total: int) -> Iterator[Callable[[], None]]:
    """A function to call once per question that is done.

    Raises:
        ImportError: A bar is asked for and neither rich nor tqdm is installed.
    """
    if not progress:
        yield lambda: None
    elif callable(progress):
        done = 0

        def tell() -> None:
            nonlocal done
            done += 1
            progress(done, total)

        yield tell
    elif importlib.util.find_spec("rich"):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = ("galaxies", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=total)
            yield lambda: bar.advance(task)
    elif importlib.util.find_spec("tqdm"):
        from tqdm import tqdm

        with tqdm(total=total, unit="galaxy") as bar:
            yield bar.update
    else:
        raise ImportError("a progress bar needs rich or tqdm: pip install 'acie-sdk[progress]'")
