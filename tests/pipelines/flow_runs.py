"""The flow runs of a study, as Prefect's server knows them."""

from uuid import UUID


def states(tag: str) -> dict[UUID, str]:
    """Return flow run → state of a study."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

    runs = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"study: {tag}"]))
    with get_client(sync_client=True) as client:
        return {run.id: run.state.type.value for run in client.read_flow_runs(flow_run_filter=runs)}
