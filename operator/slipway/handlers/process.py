"""Starts everything in the right order, keeps it running, and ends it cleanly.

    connect ▸ caches ▸ queue ▸ HTTP server ▸ elector ▸ informers, supervisor, workers ▸ kopf    all in one event loop
    SIGTERM ▸ no new keys ▸ running passes end (10 s) ▸ lease given back ▸ kopf ends ▸ tasks cancelled ▸ exit 0

Every task of ours is created before kopf starts: when kopf ends, it cancels whatever is younger than itself.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from slipway import __version__, telemetry
from slipway.adapters.clock import SystemClock
from slipway.adapters.cluster import Cluster
from slipway.adapters.election import AlwaysLeader, Leadership
from slipway.adapters.elector import Elector
from slipway.adapters.informer import Informer
from slipway.adapters.resources import MODEL_DEPLOYMENTS
from slipway.adapters.store import Store, Stores
from slipway.core.snapshot import Profiles
from slipway.handlers.caches import Records, owned_informers, profiles_informer, profiles_reader
from slipway.handlers.events import build_registry, ring_on_news
from slipway.handlers.framework import Runner
from slipway.handlers.health import Health, HealthServer
from slipway.handlers.leading import TermStart, make_elector
from slipway.loop.losses import Losses
from slipway.loop.queue import Key, WorkQueue
from slipway.loop.supervisor import Supervisor
from slipway.loop.worker import Reconcile, Worker
from slipway.settings import Settings

log = logging.getLogger(__name__)

DRAIN_S = 10.0
KOPF_END_S = 8.0  # kopf gives what it takes for its own tasks 5 s

# What turns the parts below into a reconciler; a test gives its own.
Compose = Callable[["Parts"], Reconcile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a reconciler is put together from."""

    settings: Settings
    cluster: Cluster
    stores: Stores
    profiles: Callable[[], Profiles]
    clock: SystemClock
    losses: Losses
    cleanup: AsyncExitStack  # for doors that must be closed at the end
    forgetful: list[Callable[[], None]]  # for memories that are old when another process has led meanwhile


def compose(parts: Parts) -> Reconcile:
    """The real reconciler. Its parts are imported here, so that the plumbing can be tested with another one."""
    import aiohttp

    from slipway.adapters.claims import Claims
    from slipway.adapters.router import Routers
    from slipway.adapters.triton import Triton
    from slipway.loop.apply import Applier
    from slipway.loop.fleet import Fleet
    from slipway.loop.observe import Observer
    from slipway.loop.reconcile import Reconciler
    from slipway.loop.report import Reporter

    # Pods are asked directly: no proxy, no cookies, nothing of the environment.
    session = aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
    parts.cleanup.push_async_callback(session.close)

    observer = Observer(
        stores=parts.stores,
        routers=Routers(session),
        triton=Triton(session),
        clock=parts.clock,
        platform=parts.settings.platform,
        profiles=parts.profiles,
        fleet=Fleet(parts.stores.deployments),
        claim_exists=Claims(parts.cluster, parts.clock).exists,
        owner=parts.losses.owner,
    )
    reporter = Reporter(cluster=parts.cluster, store=parts.stores.model_deployments, clock=parts.clock)
    applier = Applier(cluster=parts.cluster, stores=parts.stores)
    reconciler = Reconciler(observer=observer, applier=applier, reporter=reporter)
    parts.forgetful.extend((observer.silent_since.clear, reconciler.confirmed.clear))
    return reconciler.reconcile


async def run(settings: Settings, *, composer: Compose = compose) -> None:
    """The whole life of the operator. Returns after SIGTERM or SIGINT; raises OSError if the port is taken."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    async with AsyncExitStack() as cleanup:
        clock = SystemClock()
        start = TermStart()
        elector = await make_elector(settings, clock, start, cleanup)
        leadership: Leadership = elector or AlwaysLeader()
        cluster = await Cluster.connect(settings.access, clock, instance=settings.pod_name, gate=leadership)
        cleanup.push_async_callback(cluster.close)
        stores, profiles_store = Stores.empty(), Store()
        queue = WorkQueue(clock)
        telemetry.watch_queue(queue.depth, queue.oldest_age_s)
        telemetry.watch_leadership(leadership.is_leader)
        ring_on_news(stores.model_deployments, queue.add)

        health = Health(clock=clock)
        records = Records(stores.config_maps)
        supervisor = Supervisor(cluster, stores.model_deployments, clock=clock, written=records.newest)
        cluster.reach.when_back += [supervisor.list_soon, queue.hurry]
        losses = Losses(cluster, stores.model_deployments)
        informers = owned_informers(cluster, stores, clock, queue, supervisor, losses, records)
        informers["profiles"] = profiles_informer(cluster, settings, profiles_store, clock)
        profiles_store.subscribe(lambda _before, _after: _ring_all(stores.model_deployments, queue))
        health.caches = {name: informer.synced for name, informer in informers.items()}
        health.caches[MODEL_DEPLOYMENTS.plural] = supervisor.primed
        health.progress = {name: _progress_of(informer) for name, informer in informers.items()}
        health.progress["supervisor"] = _progress_of(supervisor)
        start.filled, start.caches = tuple(health.caches.values()), (*informers.values(), supervisor)
        start.ring = lambda: _ring_all(stores.model_deployments, queue)

        server = HealthServer(health, settings.http_port)
        port = await server.start()
        cleanup.push_async_callback(server.stop)
        log.info(
            "starting",
            extra={"version": __version__, "http_port": port, "server": cluster.server, "workers": settings.workers},
        )
        parts = Parts(
            settings=settings,
            cluster=cluster,
            stores=stores,
            profiles=profiles_reader(profiles_store, informers["profiles"], settings),
            clock=clock,
            losses=losses,
            cleanup=cleanup,
            forgetful=start.forgetful,
        )
        reconcile = composer(parts)
        async with _tasks() as spawn:
            if elector is not None:
                health.progress["elector"] = _progress_of(elector)
                health.tasks["elector"] = spawn("elector", elector.run())
                health.tasks["takeover"] = spawn("takeover", elector.prepare_terms())
                await elector.has_looked.wait()  # the first lists are then good for a term that begins at once
            for name, informer in informers.items():
                health.tasks[f"informer {name}"] = spawn(f"informer {name}", informer.run())
            health.tasks["supervisor"] = spawn("supervisor", supervisor.run())
            for number in range(settings.workers):
                worker = Worker(
                    queue, reconcile, leadership=leadership, wait_until_synced=_all_set(tuple(health.caches.values()))
                )
                health.tasks[f"worker {number}"] = spawn(f"worker {number}", worker.run())

            def kopf_started() -> None:
                _stop_on_signals(stop)
                supervisor.list_soon()  # kopf's own list tells of no deletion

            kopf_runner = Runner(build_registry(stores.model_deployments, cluster, clock), kopf_started)
            supervisor.when_served_again = kopf_runner.begin_anew
            kopf_task = spawn("kopf", kopf_runner.run())
            health.tasks["kopf"] = kopf_task
            await stop.wait()
            log.info("stopping")
            health.stopping = True
            await _end(queue, elector, kopf_task, kopf_runner)
    log.info("stopped")


async def _end(queue: WorkQueue, elector: Elector | None, kopf_task: asyncio.Task[None], kopf_runner: Runner) -> None:
    queue.close()
    try:
        async with asyncio.timeout(DRAIN_S):
            await queue.drain()
    except TimeoutError:
        # A write of theirs may be under way: the lease is not given back, it ends by itself.
        log.warning("passes cancelled", extra={"cause": f"still running {DRAIN_S:.0f} s after the stop signal"})
    else:
        if elector is not None:
            await elector.resign()
    # Only now: kopf would cancel the helpers of running passes 5 s after it was told to stop.
    kopf_runner.stop()
    await asyncio.wait((kopf_task,), timeout=KOPF_END_S)


def _ring_all(store: Store, queue: WorkQueue) -> None:
    for key in store.known():
        queue.add(Key(*key))


def _progress_of(part: Informer | Supervisor | Elector) -> Callable[[], float]:
    return lambda: part.last_progress


def _all_set(flags: tuple[asyncio.Event, ...]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def wait() -> None:
        for flag in flags:
            await flag.wait()

    return wait


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Also called after each start of kopf, which takes the handlers for itself and does not give them back."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


@asynccontextmanager
async def _tasks() -> AsyncIterator[Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]]:
    """Tasks that are cancelled and awaited at the end. One that dies is logged at once; liveness then says so."""
    spawned: list[asyncio.Task[None]] = []

    def report(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("task died", extra={"task": task.get_name()}, exc_info=error)

    def spawn(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(report)
        spawned.append(task)
        return task

    try:
        yield spawn
    finally:
        for task in spawned:
            task.cancel()
        if spawned:
            await asyncio.wait(spawned, timeout=KOPF_END_S)
