"""The first book: finished results in a file, read back when their batch is run again.

`book` is what an executor keeps: one `Book` per executor, one `Section` per batch. Below it `store`
reads and writes SQLite, `keys` names tasks by their content, `values` turns results into bytes,
`claims` and `owners` let several instances share one journal without running a task twice (an
instance only has to open the same file: `Book.admit` claims what nobody has, sets aside what
another one runs, and frees it when that one is gone), `checks` and `mounts` look at the file and
its disk beforehand, `contents` shows what is inside.
"""
