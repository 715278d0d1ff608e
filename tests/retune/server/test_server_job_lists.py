import pytest
from server_process import ServerProcess


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("/v1/fine_tuning/jobs/", "/v1/fine_tuning/jobs"),
        ("/v1/fine_tuning/jobs/?limit=1&after=a%20b", "/v1/fine_tuning/jobs?limit=1&after=a%20b"),
        ("/openai/fine_tuning/jobs/?api-version=1", "/openai/fine_tuning/jobs?api-version=1"),
        ("//v1/fine_tuning//jobs//", "/v1/fine_tuning/jobs"),
    ],
)
def test_a_redirection_stays_on_the_address_that_was_asked(server: ServerProcess, asked: str, told: str):
    answer = server.request("GET", asked, headers={"Host": "localhost:1"})

    assert (answer.status, answer.headers["location"]) == (307, told)


def test_a_list_is_narrowed_down_by_so_many_pairs_only(server: ServerProcess):
    path = "/v1/fine_tuning/jobs?" + "&".join(f"metadata[a{number}]=1" for number in range(90))

    answer = server.request("GET", path)

    assert (answer.status, answer.error["param"]) == (400, "metadata")
