import {Notebook} from "@web/core/notebook/notebook";
import {patch} from "@web/core/utils/patch";

patch(Notebook.prototype, {
    /** Who comes from the first steps finds the rest of the way on the page Matrix. */
    computeActivePage() {
        const isFirst = !this.state.currentPage;
        if (isFirst && this.env.searchModel?.globalContext.matrix_setup) {
            const found = this.pages.find(
                ([, page]) => page.name === "matrix" && page.isVisible
            );
            if (found) {
                return found[0];
            }
        }
        return super.computeActivePage(...arguments);
    },
});
