from oodbench.commands.status import main

if __name__ == "__main__":
    main()
