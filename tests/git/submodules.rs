//! A submodule on the host of its repository, behind the same password, is part of the package.

use super::git_server::GitServer;
use super::{repository, server};
use crate::builder::job::member;
use crate::builder::repository::Repository;

const PASSWORD: &str = "correct-horse-3b07";

#[test]
fn a_submodule_of_the_same_host_is_fetched_and_is_in_the_package() {
    let server = server("PollInterval = 1h");
    let outer = repository("1.0");
    let root = outer.path().parent().expect("a directory").to_owned();
    let inner = Repository::below(&root);
    inner.write("words.txt", "from the submodule\n");
    let commit = inner.commit();
    let name = |repository: &Repository| {
        repository.path().file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned()
    };
    let modules =
        format!("[submodule \"words\"]\n\tpath = inst/words\n\turl = ../../{}/.git\n", name(&inner));
    outer.write(".gitmodules", &modules);
    outer.commit();
    outer.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},inst/words")]);
    outer.git(&["commit", "--quiet", "--message=x"]);

    let git = GitServer::start(root, "ci", PASSWORD);
    server.rspm_stdout(&format!("import https-credential --name=ci --username=ci --password={PASSWORD}"));
    let url = git.url(&format!("{}/.git", name(&outer)));
    let line = format!("create git-builder --source=dev --url={url} --credential=ci --recurse-submodules=1");
    let created = server.rspm(&line);
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    let package = server.get("/dev/latest/src/contrib/tested_1.0.tar.gz").body;
    assert_eq!(member(&package, "tested/inst/words/words.txt"), "from the submodule\n");
}
