"""The leaderboard as a static web page: a folder that opens from disk, without a server and without the network.

- ``build``: a folder of runs in, a folder of pages out
- ``cells``: records by cell, a cell being one configuration with all its seeds
- ``side_files``: the files stored beside a record, read for the charts
- ``repeat_command``: the command that reproduces a cell
- ``boards``: the leaderboards as data files that the index loads on demand
- ``against_paper``: the page that compares our numbers with the printed ones
- ``cell_page``, ``cell_facts``, ``cell_charts``: one page per cell, its settings and machine, its charts
- ``markup``: pages from the templates in the folder ``pages``, and data for their scripts
- ``output_folder``: writing into the output folder without changing files that are not the site's
"""
