from oodbench.commands.tables import main

if __name__ == "__main__":
    main()
