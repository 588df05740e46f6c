from oodbench.commands.ensemble import main

if __name__ == "__main__":
    main()
