"""What this machine has to work with."""

import os
import sys
import threading

GIVING_WAY = 10  # nice


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """Threads that a computation may use: OMP_NUM_THREADS, or all cores."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else cores()


def use_threads(n: int) -> None:
    """Let what computes from now on in this process use ``n`` threads."""
    os.environ["OMP_NUM_THREADS"] = str(n)
    torch = sys.modules.get("torch")
    if torch is not None:  # it has read the variable already
        torch.set_num_threads(n)


def give_way() -> None:
    """Let other threads of this process go before this one, where the system can."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), GIVING_WAY)
