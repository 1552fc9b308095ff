"""Sockets between two ends in a task, with the program's default time-out."""

import socket

from ways import go

socket.setdefaulttimeout(7.5)


def task(index):
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as here:
            there, _ = server.accept()
            with there:
                here.sendall(f"hello {index}".encode())
                return there.recv(100), here.gettimeout(), server.gettimeout()


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
