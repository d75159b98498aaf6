"""What is left when a run has finished: records, their folder, the papers' numbers and the tables.

Nothing here imports torch, so listing results is quick and needs no accelerator.

- ``record``: the shape of a finished (or failed) cell
- ``files``: atomic writing, and the files that lie beside a record
- ``store``: the folder of runs
- ``published``: the numbers printed in papers, and what is wrong with them
- ``means``, ``costs``, ``significance``: which records belong together, what they cost, which differences are sure
- ``leaderboard``, ``paper_tables``: records in, tables out
- ``tables``, ``writers``: one table, and how it is written out
- ``check``: ours against the papers' numbers or earlier records; ``speed``: a measurement against a stored one
- ``tolerances``, ``verdict``: how far a row may be off, and how it is told
- ``exchange``: export and import of records; ``parcels``, ``archive``: what travels, and the zip it travels in
- ``site``: the leaderboard as a static web page
- ``faults``: what is wrong with a file, in a few words
"""
