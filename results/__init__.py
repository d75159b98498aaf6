"""Results of finished runs: records, the folder of runs, the papers' numbers and the tables.

Nothing here imports torch, so listing results is fast and needs no accelerator.

- ``record``: the shape of a finished (or failed) cell
- ``store``: the folder of runs; ``claims``: which process works on which cell
- ``files``, ``seal``: atomic writing, the files stored beside a record, and their checksums
- ``published``: the numbers printed in papers, and their known problems
- ``tables``: make tables from records; ``writers``: a table as text, one writer per format
- ``check``: compare ours with the papers' numbers, earlier records or an earlier measurement of speed
- ``exchange``: export and import of records
- ``status``: a launched plan, its progress and the time left
- ``plots``, ``site``: figures, and the leaderboard as a static web site
"""
