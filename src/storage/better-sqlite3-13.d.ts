/** Version 13 beside 12, under a name of its own: see `betterSqlite3For` in sqlite-driver.ts. */
declare module "better-sqlite3-13";
