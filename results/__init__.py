"""What is left when a run has finished: records, their folder, the papers' numbers and the tables.

Nothing here imports torch, so listing results is quick and needs no accelerator.

- ``record``: the shape of a finished (or failed) cell
- ``store``: the folder of runs; ``claims``: which process works on which cell
- ``files``, ``seal``: atomic writing, the files that lie beside a record, and their checksums
- ``published``: the numbers printed in papers, and what is wrong with them
- ``tables``: records in, tables out; ``writers``: a table as text, one writer a format
- ``check``: ours against the papers' numbers, earlier records or an earlier measurement of speed
- ``exchange``: export and import of records
- ``status``: a launched plan and what is left of it
- ``plots``, ``site``: figures, and the leaderboard as a static web page
"""
