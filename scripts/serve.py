from recsys.cli import serve

if __name__ == "__main__":
    serve()
