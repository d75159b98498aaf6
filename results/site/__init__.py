"""The leaderboard as a static web page: a folder that opens from disk, without a server and without the network.

- ``build``: a folder of runs in, a folder of pages out
- ``cells``: records by cell, a cell being one configuration with all its seeds
- ``side_files``: the files that lie beside a record, read for the charts
- ``repeat_command``: the command that makes a cell again
- ``boards``: the leaderboards as data files that the index loads when it needs them
- ``against_paper``: the page that sets our numbers against the printed ones
- ``cell_page``, ``cell_facts``, ``cell_charts``: one page a cell, what it tells of settings and machine, what it draws
- ``markup``: escaping, and the frame that all pages share
- ``output_folder``: writing into the output folder without touching anybody else's
"""
