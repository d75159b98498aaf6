"""What is left when a run has finished: records, their folder, the papers' numbers and the tables.

Nothing here imports torch, so listing results is quick and needs no accelerator.

- ``record``: the shape of a finished (or failed) cell
- ``files``: atomic writing, and the files that lie beside a record
- ``store``: the folder of runs
- ``published``: the numbers printed in papers
- ``tables``: one table, and how it is written out
- ``leaderboard``: records in, tables out
"""
