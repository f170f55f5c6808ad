"""Faults whose check is a test: the table names it, and runs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tested:
    """One row; ``test`` is pytest's name of the check."""

    section: str
    fault: str
    how: str
    expected: str
    test: str


_FILES, _IMAGES, _LINEAGE = "tests/decay/test_files.py", "tests/decay/test_images.py", "tests/decay/test_lineage.py"
_METADATA, _LOG, _RUN = (
    "tests/decay/test_metadata.py",
    "tests/decay/provenance/test_log.py",
    "tests/decay/loop/test_run.py",
)
_POOL, _CLUSTER = "tests/decay/workers/test_pool.py", "tests/decay/workers/test_cluster.py"
_WORKERS = "Workers"
_STORE, _LOGS, _READERS = "Files, locks and the journal", "The provenance log", "Readers of foreign files"

TESTED = (
    Tested(_WORKERS, "an image that kills its worker (SIGSEGV), every time", "two among thirteen",
           "tried twice, then a row `crashed`; the others are read, bit for bit",
           f"{_POOL}::test_an_image_that_kills_its_worker_is_a_row_and_the_others_are_read"),
    Tested(_WORKERS, "an image that kills its worker once (SIGKILL)", "one among thirteen", "it is read",
           f"{_POOL}::test_an_image_whose_worker_was_killed_once_is_read_again"),
    Tested(_WORKERS, "an image that is never done", "a reader that loops in native code's place", "a row `timed_out`",
           f"{_POOL}::test_an_image_that_takes_too_long_is_a_row"),
    Tested(_WORKERS, "workers killed from outside", "kill -9 of real workers while they read", "nothing lost, nothing twice",
           f"{_POOL}::test_a_worker_killed_from_outside_costs_nothing"),
    Tested(_WORKERS, "workers that all die", "every image kills", "one sentence", f"{_POOL}::test_workers_that_die_of_anything_are_one_message"),
    Tested(_WORKERS, "a dask worker killed during the run", "two processes, kill -9 of one", "nothing lost, nothing twice",
           f"{_CLUSTER}::test_a_worker_killed_during_the_run_loses_nothing_and_counts_nothing_twice"),
    Tested(_WORKERS, "an image that kills every dask worker", "four images a task", "a row `crashed`; its neighbours are read",
           f"{_CLUSTER}::test_an_image_that_kills_every_worker_is_a_row_and_its_neighbours_are_read"),
    Tested(_WORKERS, "a cluster that does not see the files, or has other detectors", "each", "one sentence, no rows",
           f"{_CLUSTER}::test_a_file_that_the_cluster_does_not_see_is_a_message_not_a_row"),
    Tested(_STORE, "kill -9 behind a committed row", "500 rows, killed at row 320", "the row is there, and every one before",
           "tests/decay/test_journal.py::test_a_row_that_was_put_survives_kill_9"),
    Tested(_STORE, "rows of a journal that are damaged, foreign or nested", "16 kinds of row", "no reading; read again",
           "tests/decay/test_journal.py::test_a_damaged_row_is_read_again"),
    Tested(_STORE, "a failure while a file is written", "an exception between writing and renaming",
           "the old file stays, nothing else is left", f"{_FILES}::test_an_error_while_writing_keeps_the_old_file_and_leaves_nothing_else"),
    Tested(_STORE, "the disk fails with any error", "each error number that writing can end with", "one sentence with its reason",
           f"{_FILES}::test_a_failure_of_the_disk_is_one_sentence"),
    Tested(_STORE, "a killed process held the lock", "killed while it held it", "the next one starts; what it left is cleared away",
           f"{_FILES}::test_a_second_writer_is_told_who_holds_the_folder_and_a_killed_one_blocks_nobody"),
    Tested(_STORE, "links in the output folder", "links to files and folders elsewhere", "nothing is written through one",
           f"{_FILES}::test_nothing_is_written_through_a_link"),
    Tested(_STORE, "a pipe in the output folder", "a FIFO under measures/", "refused, not waited for",
           f"{_FILES}::test_a_pipe_in_the_output_folder_is_refused_and_not_waited_for"),
    Tested(_STORE, "two `decay run` on one run", "a second while the first holds the log", "one sentence",
           f"{_RUN}::test_two_at_once_are_refused"),
    Tested(_STORE, "a picture of a run was cut short", "a generated picture truncated", "it is made again, equal",
           f"{_RUN}::test_a_picture_that_was_cut_short_is_made_again"),
    Tested(_LOGS, "kill -9 while the log is written", "at 20 moments", "it goes on behind the last whole line, and says so",
           f"{_LOG}::test_kill_9_at_any_moment_leaves_a_log_that_goes_on"),
    Tested(_LOGS, "a disk that fills up while the log is written", "RLIMIT_FSIZE", "the log is as it was",
           f"{_LOG}::test_a_full_disk_leaves_the_log_as_it_was"),
    Tested(_LOGS, "a line altered, taken out, doubled or moved", "each, in a log of its own", "the first such line is named",
           f"{_LOG}::test_the_first_line_that_was_tampered_with_is_named"),
    Tested(_LOGS, "paths in a foreign log", "they lead to secrets outside", "compared, never followed",
           "tests/decay/provenance/test_verify.py::test_a_path_in_a_foreign_log_is_never_followed"),
    Tested(_READERS, "mutated images of every format", "hypothesis; see also the fuzzer below", "pixels or a state",
           f"{_IMAGES}::test_hostile_bytes_end_in_pixels_or_in_a_problem"),
    Tested(_READERS, "a text chunk that unpacks to gigabytes", "PNG zTXt", "bounded memory",
           f"{_IMAGES}::test_a_text_chunk_that_unpacks_to_gigabytes_is_no_way_in"),
    Tested(_READERS, "metadata that is too large, a pipe, or a link out", "one of each", "one sentence",
           f"{_METADATA}::test_metadata_that_is_too_large_a_pipe_or_a_link_out_is_refused"),
    Tested(_READERS, "a file_name that leads elsewhere", "dots, absolute, drives, backslashes", "passed over and counted",
           f"{_METADATA}::test_a_path_that_leads_elsewhere_is_passed_over"),
    Tested(_READERS, "a template that reaches for attributes", "`{age.__class__}` and the like", "only plain columns",
           f"{_METADATA}::test_a_template_takes_texts_as_they_are_and_reaches_no_further"),
    Tested(_READERS, "folder links in circles", "links to themselves and above", "each image once",
           f"{_LINEAGE}::test_links_in_circles_end"),
    Tested(_READERS, "a parent run that no folder can be named", "NUL, lone surrogate, 5,000 letters", "no parent",
           "tests/decay/test_ancestors.py::test_a_parent_that_no_folder_can_be_named_is_none"),
    Tested(_READERS, "protocols made to hang the parser", "dotted keys, nesting, endless texts", "one sentence, at once",
           "tests/decay/loop/test_protocol.py::test_hostile_files_are_refused_at_once"),
    Tested(_READERS, "plans made to hang the parser, or out of range", "the same; numbers of 400 digits, NaN", "one sentence",
           "tests/decay/test_phantom.py::test_plans_from_files"),
    Tested(_READERS, "formulas and carriage returns in CSV cells", "OWASP's list, full-width forms too", "defused",
           f"{_FILES}::test_texts_cannot_act_as_formulas_and_numbers_stay"),
    Tested(_READERS, "markup in every text of the tables", "on the page of one run", "inert",
           "tests/reports/test_page.py::test_markup_in_the_tables_is_inert"),
)  # fmt: skip
